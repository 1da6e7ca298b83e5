// From what the graph gives to labels at the photograph's size; deploy/README.md has the definition.
#pragma once

#include <opencv2/core.hpp>
#include <string>
#include <vector>

#include "sample.hpp"
#include "tensor.hpp"

namespace segment {

// Labels (int32) at the size the image had before `steps`, from the output for an input of `input_size`.
// Labels go back by the nearest neighbour, scores by bilinear interpolation before the largest is taken; of equal
// scores the first class wins. Throws Error (kModel) for an output of another kind than `expected_kind` ("labels",
// "scores", or empty for either), or of another shape than such an output has.
cv::Mat1i restore_labels(const Output& output, cv::Size input_size, const std::vector<Step>& steps,
                         const std::string& expected_kind);

}  // namespace segment
