// Measured times and their statistics.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace segment {

class Stopwatch {
 public:
  // Milliseconds since the last lap, or since the start.
  double lap_ms() {
    const auto now = std::chrono::steady_clock::now();
    const std::chrono::duration<double, std::milli> passed = now - start_;
    start_ = now;
    return passed.count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// The phases an image goes through, in milliseconds.
struct Times {
  double preprocessing, inference, postprocessing;
};

struct Summary {
  double min, median, mean, p90, max;
};

// Statistics of at least one value; median and p90 are interpolated.
Summary summarise(std::vector<double> values);

// All counted runs of a program, and what it cost to get there.
struct Latency {
  double init_ms = 0;   // loading the runtime and the graph
  double first_ms = 0;  // the first inference, whether it is counted or not
  std::vector<Times> runs;

  // Each phase's series by name, and their sum as "total".
  std::vector<std::pair<std::string, std::vector<double>>> series() const;
};

// A table with one row per phase, and the facts that all phases share.
std::string to_table(const Latency& latency);

// The largest resident set of this process so far.
double peak_memory_mb();

}  // namespace segment
