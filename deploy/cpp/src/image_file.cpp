#include "image_file.hpp"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <opencv2/imgcodecs.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "error.hpp"

namespace segment {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxPixels = 100'000'000;

constexpr std::string_view kJpegStart = "\xff\xd8", kJpegScan = "\xff\xda", kJpegEnd = "\xff\xd9";
constexpr std::string_view kPngStart = "\x89PNG\r\n\x1a\n", kPngEnd = "IEND\xae\x42\x60\x82";

std::string read_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file || fs::is_directory(path)) throw Error(Exit::kData, "cannot read " + path.string());
  std::string data{std::istreambuf_iterator<char>(file), {}};
  if (data.empty()) throw Error(Exit::kData, path.string() + " is empty");
  return data;
}

bool starts_with(std::string_view data, std::string_view start) { return data.substr(0, start.size()) == start; }

// OpenCV decodes a truncated JPEG to a picture that ends in grey, without a word.
bool is_truncated(std::string_view data) {
  if (starts_with(data, kJpegStart)) {
    const std::size_t scan = data.rfind(kJpegScan);
    return scan == data.npos || data.find(kJpegEnd, scan) == data.npos;
  }
  return starts_with(data, kPngStart) && data.rfind(kPngEnd) == data.npos;
}

std::uint64_t big_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

struct Declared {
  std::uint64_t width, height;
};

// Width and height stand in the first chunk of a PNG and in the frame header of a JPEG; other formats are left to
// OpenCV's own limit.
std::optional<Declared> declared_size(std::string_view data) {
  if (starts_with(data, kPngStart) && data.size() >= 24) {
    return Declared{big_endian(data.substr(16, 4)), big_endian(data.substr(20, 4))};
  }
  if (!starts_with(data, kJpegStart)) return std::nullopt;
  for (std::size_t at = 2; at + 9 <= data.size() && data[at] == '\xff';) {
    const auto marker = static_cast<unsigned char>(data[at + 1]);
    const bool is_frame = marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
    if (is_frame) return Declared{big_endian(data.substr(at + 7, 2)), big_endian(data.substr(at + 5, 2))};
    at += marker == 0xff ? 1 : 2 + big_endian(data.substr(at + 2, 2));  // a fill byte, or a segment with its length
  }
  return std::nullopt;
}

}  // namespace

cv::Mat read_image(const fs::path& path, int channels) {
  std::string data = read_bytes(path);
  if (is_truncated(data)) {
    throw Error(Exit::kData, path.string() + " is truncated: it ends after " + std::to_string(data.size()) +
                                 " bytes, before the end of the picture");
  }
  const auto size = declared_size(data);
  if (size && size->width * size->height > kMaxPixels) {
    throw Error(Exit::kData, path.string() + " is " + std::to_string(size->width) + "x" + std::to_string(size->height) +
                                 "; at most " + std::to_string(kMaxPixels / 1'000'000) + " million pixels are read");
  }
  const cv::Mat bytes(1, static_cast<int>(data.size()), CV_8U, data.data());
  const cv::Mat image = translated(Exit::kData, path.string() + " cannot be decoded", [&] {
    return cv::imdecode(bytes, channels == 3 ? cv::IMREAD_COLOR : cv::IMREAD_GRAYSCALE);
  });
  if (image.empty()) {
    throw Error(Exit::kData,
                path.string() + " is not an image OpenCV can read (" + std::to_string(data.size()) + " bytes)");
  }
  return image;
}

}  // namespace segment
