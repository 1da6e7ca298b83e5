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

constexpr std::string_view kJpegStart = "\xff\xd8";
constexpr unsigned char kJpegScan = 0xda, kJpegEnd = 0xd9;
constexpr std::string_view kPngStart = "\x89PNG\r\n\x1a\n", kPngEnd = "IEND\xae\x42\x60\x82";

std::string read_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file || fs::is_directory(path)) throw Error(Exit::kData, "cannot read " + path.string());
  std::string data{std::istreambuf_iterator<char>(file), {}};
  if (data.empty()) throw Error(Exit::kData, path.string() + " is empty");
  return data;
}

bool starts_with(std::string_view data, std::string_view start) { return data.substr(0, start.size()) == start; }

std::uint64_t big_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

unsigned char at_place(std::string_view data, std::size_t at) { return static_cast<unsigned char>(data[at]); }

// Walks the segments: a thumbnail before the picture and a film behind it have markers of their own. In a scan, 0 behind
// 255 is data and 208 to 215 are restarts.
bool jpeg_ends(std::string_view data) {
  bool has_scan = false;
  for (std::size_t at = kJpegStart.size(); (at = data.find('\xff', at)) != data.npos && at + 1 < data.size();) {
    const unsigned char kind = at_place(data, at + 1);
    if (kind == 0xff) {
      at += 1;
    } else if (kind == 0 || (kind >= 0xd0 && kind <= 0xd7)) {
      at += 2;
    } else if (kind == kJpegEnd) {
      return has_scan;
    } else {
      has_scan |= kind == kJpegScan;
      at += 2 + (at + 4 <= data.size() ? big_endian(data.substr(at + 2, 2)) : 2);
    }
  }
  return false;
}

// OpenCV decodes a truncated JPEG to a picture that ends in grey, without a word.
bool is_truncated(std::string_view data) {
  if (starts_with(data, kJpegStart)) return !jpeg_ends(data);
  return starts_with(data, kPngStart) && data.rfind(kPngEnd) == data.npos;
}

std::uint64_t number(std::string_view data, std::size_t at, std::size_t bytes, bool is_little) {
  if (at + bytes > data.size()) return 0;
  std::string raw{data.substr(at, bytes)};
  if (is_little) std::reverse(raw.begin(), raw.end());
  return big_endian(raw);
}

// The orientation that EXIF data (a TIFF header and its first directory) ask for; 1 where they ask for none.
std::uint64_t orientation(std::string_view exif) {
  constexpr std::string_view kPrefix{"Exif\0\0", 6};
  constexpr std::uint64_t kOrientation = 0x0112;
  if (starts_with(exif, kPrefix)) exif.remove_prefix(kPrefix.size());
  const bool is_little = starts_with(exif, "II");
  const std::size_t directory = number(exif, 4, 4, is_little);
  const std::size_t entries = number(exif, directory, 2, is_little);
  for (std::size_t entry = directory + 2, i = 0; i < entries; ++i, entry += 12) {
    if (number(exif, entry, 2, is_little) == kOrientation) return number(exif, entry + 8, 2, is_little);
  }
  return 1;
}

// OpenCV turns a JPEG, a PNG, a TIFF as its EXIF data say, and not a WebP.
bool is_turned_webp(std::string_view data) {
  if (!starts_with(data, "RIFF") || data.substr(8, 4) != "WEBP") return false;
  for (std::size_t at = 12; at + 8 <= data.size();) {
    const std::size_t length = number(data, at + 4, 4, true);
    if (data.substr(at, 4) == "EXIF") return orientation(data.substr(at + 8, length)) > 1;
    at += 8 + length + length % 2;
  }
  return false;
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
  if (is_turned_webp(data)) {
    throw Error(Exit::kData, path.string() +
                                 " is a WebP to be turned by its EXIF data, which OpenCV does not do; save it turned");
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
