#include "report.hpp"

#include <cstdio>
#include <sstream>

namespace segment {
namespace {

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", c);
      result += escaped;
    } else {
      result += c;
    }
  }
  return result + '"';
}

template <class Items, class Text>
std::string list(const Items& items, Text text) {
  std::string result;
  for (const auto& item : items) result += (result.empty() ? "" : ", ") + text(item);
  return '[' + result + ']';
}

std::string number(double value) {
  std::ostringstream out;
  out.precision(6);
  out << value;
  return out.str();
}

std::string to_json(const Segmented& segmented) {
  return "{\"picture\": " + quoted(segmented.picture) + ", \"mask\": " + quoted(segmented.mask) +
         ", \"width\": " + std::to_string(segmented.width) + ", \"height\": " + std::to_string(segmented.height) +
         ", \"labels\": " + std::to_string(segmented.labels) + "}";
}

}  // namespace

std::string to_json(const Report& report, const Arguments& arguments) {
  std::ostringstream out;
  out << "{\n  \"backend\": " << quoted(arguments.backend) << ",\n  \"runtime\": " << quoted(report.runtime)
      << ",\n  \"output_op\": " << quoted(report.output_op) << ",\n  \"num_classes\": " << report.num_classes
      << ",\n  \"threads\": " << arguments.threads << ",\n  \"warmup\": " << arguments.warmup
      << ",\n  \"repeats\": " << arguments.repeats << ",\n  \"init_ms\": " << number(report.latency.init_ms)
      << ",\n  \"first_ms\": " << number(report.latency.first_ms)
      << ",\n  \"peak_memory_mb\": " << number(peak_memory_mb());
  for (const auto& [name, values] : report.latency.series()) {
    out << ",\n  \"" << name << "_ms\": " << list(values, number);
  }
  out << ",\n  \"pictures\": " << list(report.pictures, [](const Segmented& item) { return to_json(item); }) << "\n}\n";
  return out.str();
}

}  // namespace segment
