// Reading photographs, with the same checks as paddleseg_ext_runtime/reading.py.
#pragma once

#include <filesystem>
#include <opencv2/core.hpp>

namespace segment {

// The picture at `path`, 8 bit, turned as its EXIF data says: BGR, or grey for one channel.
// Throws Error (kData) naming the file and what is wrong with it.
cv::Mat read_image(const std::filesystem::path& path, int channels);

}  // namespace segment
