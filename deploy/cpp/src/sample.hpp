// A photograph on its way to the graph, and the way back.
#pragma once

#include <opencv2/core.hpp>
#include <vector>

namespace segment {

// A change of size that the labels must go back through.
struct Step {
  enum class Kind { kResize, kPadding } kind;
  cv::Size before;
};

struct Sample {
  cv::Mat image;            // float32, height x width x channels
  std::vector<Step> steps;  // in the order they were taken
};

// Resizes the image, recording the step. Throws Error (kData) for a size without pixels.
void resize(Sample& sample, cv::Size size, int interpolation);

}  // namespace segment
