// Label maps as palette PNGs: they show colours, and their pixels are the class numbers.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <opencv2/core.hpp>

namespace segment {

struct Color {
  std::uint8_t red = 0, green = 0, blue = 0;
};

using Palette = std::array<Color, 256>;

// The default colours of classes.
Palette paddleseg_palette();

// Writes `labels` (int32, 0 to 255) in the colours of `palette`; the file is complete or not there.
// Throws Error: kModel for a label above 255, kUsage when the file cannot be written.
void write_labels(const std::filesystem::path& path, const cv::Mat1i& labels, const Palette& palette);

}  // namespace segment
