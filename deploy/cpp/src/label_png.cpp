#include "label_png.hpp"

#include <png.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "error.hpp"

namespace segment {
namespace {

namespace fs = std::filesystem;

cv::Mat1b to_bytes(const cv::Mat1i& labels) {
  double smallest = 0, largest = 0;
  cv::minMaxLoc(labels, &smallest, &largest);
  if (smallest < 0 || largest > 255) {
    throw Error(Exit::kModel, "the graph gives labels from " + std::to_string(int(smallest)) + " to " +
                                  std::to_string(int(largest)) + "; a palette PNG holds 0 to 255");
  }
  return cv::Mat1b(labels);
}

std::vector<char> encode(const cv::Mat1b& labels, const Palette& colors) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(labels.cols);
  image.height = static_cast<png_uint_32>(labels.rows);
  image.format = PNG_FORMAT_RGB_COLORMAP;
  image.colormap_entries = colors.size();
  const auto stride = static_cast<png_int_32>(labels.step[0]);
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::vector<char> file(size);
  if (!png_image_write_to_memory(&image, file.data(), &size, 0, labels.data, stride, colors.data())) {
    throw Error(Exit::kRuntime, std::string("libpng failed: ") + image.message);
  }
  file.resize(size);
  return file;
}

}  // namespace

// Pascal VOC's scheme, which PaddleSeg counts from 1: the bits of the number, three by three, become the high bits
// of red, green and blue.
Palette paddleseg_palette() {
  Palette colors{};
  for (unsigned i = 0; i < colors.size(); ++i) {
    unsigned shift = 7;
    for (unsigned rest = i + 1; rest; rest >>= 3, --shift) {
      colors[i].red |= (rest & 1) << shift;
      colors[i].green |= (rest >> 1 & 1) << shift;
      colors[i].blue |= (rest >> 2 & 1) << shift;
    }
  }
  return colors;
}

void write_labels(const fs::path& path, const cv::Mat1i& labels, const Palette& palette) {
  const std::vector<char> file = encode(to_bytes(labels), palette);
  const fs::path unfinished = path.string() + ".part";
  std::error_code problem;
  fs::create_directories(path.parent_path(), problem);
  std::ofstream out(unfinished, std::ios::binary);
  out.write(file.data(), static_cast<std::streamsize>(file.size()));
  out.close();
  if (out) fs::rename(unfinished, path, problem);
  if (!out || problem) {
    fs::remove(unfinished, problem);
    throw Error(Exit::kUsage, "cannot write " + path.string() + "; choose another --save_dir");
  }
}

}  // namespace segment
