// Label maps as palette PNGs: they show colours, and their pixels are the class numbers.
#pragma once

#include <filesystem>
#include <opencv2/core.hpp>

namespace segment {

// Writes `labels` (int32, 0 to 255) in PaddleSeg's colours; the file is complete or not there.
// Throws Error: kModel for a label above 255, kUsage when the file cannot be written.
void write_labels(const std::filesystem::path& path, const cv::Mat1i& labels);

}  // namespace segment
