// The report of a run, for other programs.
#pragma once

#include <string>
#include <vector>

#include "arguments.hpp"
#include "latency.hpp"

namespace segment {

struct Segmented {
  std::string picture, mask;
  int width, height;
  int labels;  // how many classes occur
};

struct Report {
  std::string runtime;
  std::string output_op;
  int num_classes = 0;
  Latency latency;
  std::vector<Segmented> pictures;
};

// JSON, with every counted run in milliseconds.
std::string to_json(const Report& report, const Arguments& arguments);

}  // namespace segment
