#include "transforms.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <opencv2/imgproc.hpp>
#include <string>
#include <vector>

#include "settings.hpp"

namespace segment {
namespace {

// A photograph of the size limit, times four on each side.
constexpr int kMaxSide = 80000;

// Python's round(): halves go to the even neighbour, which is the default rounding mode.
int rounded(double value) { return static_cast<int>(std::nearbyint(std::clamp(value, -1e6, 1e6))); }

int long_side(cv::Size size) { return std::max(size.width, size.height); }
int short_side(cv::Size size) { return std::min(size.width, size.height); }

cv::Size scaled(cv::Size size, double scale) { return {rounded(size.width * scale), rounded(size.height * scale)}; }

std::string text(cv::Size size) { return std::to_string(size.width) + "x" + std::to_string(size.height); }

int positive(Settings& settings, const std::string& key) {
  const int value = settings.get<int>(key);
  if (value < 1 || value > kMaxSide) settings.fail("has " + key + " " + std::to_string(value));
  return value;
}

// `target_size` is [width, height].
cv::Size target_size(Settings& settings, std::vector<int> otherwise) {
  const auto sides =
      otherwise.empty() ? settings.get<std::vector<int>>("target_size") : settings.get("target_size", otherwise);
  if (sides.size() != 2 || *std::min_element(sides.begin(), sides.end()) < 1) {
    settings.fail("needs a target_size of width and height");
  }
  return {sides[0], sides[1]};
}

int interpolation(Settings& settings) {
  static const std::map<std::string, int> known = {{"NEAREST", cv::INTER_NEAREST},
                                                   {"LINEAR", cv::INTER_LINEAR},
                                                   {"CUBIC", cv::INTER_CUBIC},
                                                   {"AREA", cv::INTER_AREA},
                                                   {"LANCZOS4", cv::INTER_LANCZOS4}};
  const auto name = settings.get<std::string>("interp", "LINEAR");
  const auto found = known.find(name);
  if (found == known.end()) {
    settings.fail("has interp " + name + "; one of NEAREST LINEAR CUBIC AREA LANCZOS4 gives the same result twice");
  }
  return found->second;
}

Transform make_resize(Settings& settings) {
  const cv::Size target = target_size(settings, {512, 512});
  const bool keep_ratio = settings.get("keep_ratio", false);
  const int divisor = settings.get("size_divisor", 0);
  const int interp = interpolation(settings);
  if (divisor < 0) settings.fail("has size_divisor " + std::to_string(divisor));
  return [=](Sample& sample) {
    const cv::Size now = sample.image.size();
    cv::Size size = target;
    if (keep_ratio) {
      size = scaled(now,
                    std::min(double(long_side(target)) / long_side(now), double(short_side(target)) / short_side(now)));
    }
    if (divisor) {
      size.width = (size.width + divisor - 1) / divisor * divisor;
      size.height = (size.height + divisor - 1) / divisor * divisor;
    }
    resize(sample, size, interp);
  };
}

Transform make_resize_by_long(Settings& settings) {
  const int target = positive(settings, "long_size");
  return [=](Sample& sample) {
    const cv::Size now = sample.image.size();
    resize(sample, scaled(now, double(target) / long_side(now)), cv::INTER_LINEAR);
  };
}

// PaddleSeg keeps the side that `max_size` shortened for all images that follow; here each image is independent.
Transform make_resize_by_short(Settings& settings) {
  if (settings.find("short_size").IsSequence()) settings.fail("draws short_size at random; give one number");
  const int target = positive(settings, "short_size");
  const double max_size = settings.get("max_size", 1e10);
  return [=](Sample& sample) {
    const cv::Size now = sample.image.size();
    int side = target;
    if (double(target) / short_side(now) * long_side(now) > max_size) {
      side = static_cast<int>(max_size / long_side(now) * short_side(now));
    }
    resize(sample, scaled(now, double(side) / short_side(now)), cv::INTER_LINEAR);
  };
}

Transform make_limit_long(Settings& settings) {
  const int max_long = settings.get("max_long", 0);
  const int min_long = settings.get("min_long", 0);
  if (max_long < 0 || min_long < 0 || (max_long && min_long > max_long)) {
    settings.fail("has min_long " + std::to_string(min_long) + " and max_long " + std::to_string(max_long));
  }
  return [=](Sample& sample) {
    const cv::Size now = sample.image.size();
    int target = long_side(now);
    if (max_long && target > max_long) {
      target = max_long;
    } else if (min_long && target < min_long) {
      target = min_long;
    }
    if (target != long_side(now)) resize(sample, scaled(now, double(target) / long_side(now)), cv::INTER_LINEAR);
  };
}

void pad(Sample& sample, cv::Size target, double value) {
  const cv::Size now = sample.image.size();
  if (now.width > target.width || now.height > target.height) {
    throw Error(Exit::kData, "the image is " + text(now) + " before Padding to " + text(target) + ", which is smaller");
  }
  sample.steps.push_back({Step::Kind::kPadding, now});
  cv::Mat padded;
  cv::copyMakeBorder(sample.image, padded, 0, target.height - now.height, 0, target.width - now.width,
                     cv::BORDER_CONSTANT, cv::Scalar::all(value));
  sample.image = padded;
}

Transform make_padding(Settings& settings) {
  const cv::Size target = target_size(settings, {});
  const double value = settings.get("im_padding_value", 127.5);
  settings.find("label_padding_value");
  return [=](Sample& sample) { pad(sample, target, value); };
}

Transform make_padding_by_aspect_ratio(Settings& settings) {
  const double ratio = settings.get("aspect_ratio", 1.0);
  const double value = settings.get("im_padding_value", 127.5);
  settings.find("label_padding_value");
  if (!(ratio > 1e-3 && ratio < 1e3)) settings.fail("has aspect_ratio " + std::to_string(ratio));
  return [=](Sample& sample) {
    cv::Size size = sample.image.size();
    const double now = double(size.width) / size.height;
    if (now == ratio) return;
    if (now > ratio) {
      size.height = static_cast<int>(size.width / ratio);
    } else {
      size.width = static_cast<int>(size.height * ratio);
    }
    pad(sample, size, value);
  };
}

std::vector<double> per_channel(Settings& settings, const std::string& key) {
  const auto values = settings.get(key, std::vector<double>{0.5});
  if (values.size() != 1 && values.size() != 3) {
    settings.fail("has " + std::to_string(values.size()) + " values for " + key + ", not 1 or 3");
  }
  return values;
}

// numpy divides by 255 in float32, then subtracts and divides in float64, rounding to float32 after each.
Transform make_normalize(Settings& settings) {
  const auto mean = per_channel(settings, "mean");
  const auto deviation = per_channel(settings, "std");
  if (std::count(deviation.begin(), deviation.end(), 0.0)) settings.fail("has a 0 in std");
  return [=](Sample& sample) {
    const int channels = sample.image.channels();
    if (channels == 1 && (mean.size() > 1 || deviation.size() > 1)) {
      throw Error(Exit::kModel, "Normalize has values for three channels; the graph takes one");
    }
    for (int y = 0; y < sample.image.rows; ++y) {
      float* value = sample.image.ptr<float>(y);
      for (int x = 0; x < sample.image.cols; ++x) {
        for (int c = 0; c < channels; ++c, ++value) {
          const float centred = static_cast<float>(*value / 255.0F - mean[mean.size() == 1 ? 0 : c]);
          *value = static_cast<float>(centred / deviation[deviation.size() == 1 ? 0 : c]);
        }
      }
    }
  };
}

const std::map<std::string, Transform (*)(Settings&)>& known_transforms() {
  static const std::map<std::string, Transform (*)(Settings&)> known = {
      {"LimitLong", make_limit_long},
      {"Normalize", make_normalize},
      {"Padding", make_padding},
      {"PaddingByAspectRatio", make_padding_by_aspect_ratio},
      {"Resize", make_resize},
      {"ResizeByLong", make_resize_by_long},
      {"ResizeByShort", make_resize_by_short},
  };
  return known;
}

}  // namespace

void resize(Sample& sample, cv::Size size, int interpolation) {
  const cv::Size now = sample.image.size();
  if (size.width < 1 || size.height < 1 || size.width > kMaxSide || size.height > kMaxSide) {
    throw Error(Exit::kData, "an image of " + text(now) + " would be resized to " + text(size));
  }
  sample.steps.push_back({Step::Kind::kResize, now});
  cv::Mat resized;
  cv::resize(sample.image, resized, size, 0, 0, interpolation);
  sample.image = resized;
}

Transform make_transform(const YAML::Node& entry) {
  const auto type = Settings("each of the transforms in deploy.yaml", entry).get<std::string>("type");
  const auto found = known_transforms().find(type);
  if (found == known_transforms().end()) {
    std::string names;
    for (const auto& [name, factory] : known_transforms()) names += " " + name;
    throw Error(Exit::kModel,
                "deploy.yaml lists the transform " + type + ", which this program does not have; it has" + names);
  }
  Settings settings("the transform " + type + " in deploy.yaml", entry);
  settings.find("type");
  const Transform transform = found->second(settings);
  settings.reject_others();
  return transform;
}

}  // namespace segment
