#include "latency.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <iomanip>
#include <numeric>
#include <sstream>
#include <utility>

namespace segment {
namespace {

// Of sorted values, interpolated between the two neighbours of the rank.
double quantile(const std::vector<double>& sorted, double fraction) {
  const double rank = fraction * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(rank);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (rank - static_cast<double>(below));
}

}  // namespace

Summary summarise(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return {values.front(), quantile(values, 0.5), sum / static_cast<double>(values.size()), quantile(values, 0.9),
          values.back()};
}

std::vector<std::pair<std::string, std::vector<double>>> Latency::series() const {
  const auto of = [this](auto value) {
    std::vector<double> values;
    for (const Times& times : runs) values.push_back(value(times));
    return values;
  };
  return {{"preprocessing", of([](const Times& t) { return t.preprocessing; })},
          {"inference", of([](const Times& t) { return t.inference; })},
          {"postprocessing", of([](const Times& t) { return t.postprocessing; })},
          {"total", of([](const Times& t) { return t.preprocessing + t.inference + t.postprocessing; })}};
}

std::string to_table(const Latency& latency) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(2);
  out << std::left << std::setw(16) << "ms" << std::right;
  for (const char* name : {"min", "median", "mean", "p90", "max"}) out << std::setw(10) << name;
  for (const auto& [name, values] : latency.series()) {
    const Summary s = summarise(values);
    out << '\n' << std::left << std::setw(16) << name << std::right;
    for (double value : {s.min, s.median, s.mean, s.p90, s.max}) out << std::setw(10) << value;
  }
  out << "\ninit " << latency.init_ms << " ms, first inference " << latency.first_ms << " ms, " << latency.runs.size()
      << (latency.runs.size() == 1 ? " counted run" : " counted runs") << ", peak memory " << std::setprecision(0)
      << peak_memory_mb() << " MB\n";
  return out.str();
}

double peak_memory_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;  // Linux counts in KiB
}

}  // namespace segment
