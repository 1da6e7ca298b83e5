#include "postprocess.hpp"

#include <algorithm>
#include <opencv2/imgproc.hpp>

#include "error.hpp"

namespace segment {
namespace {

// The source index whose pixel holds the centre of pixel `i` of `length`; whole numbers, so that every language
// and machine agrees. OpenCV's INTER_NEAREST would shift the labels by up to half a pixel.
std::vector<int> nearest_indices(int source, int length) {
  std::vector<int> indices(static_cast<std::size_t>(length));
  for (std::int64_t i = 0; i < length; ++i) {
    indices[std::size_t(i)] = static_cast<int>((2 * i + 1) * source / (2 * std::int64_t{length}));
  }
  return indices;
}

cv::Mat1i resize_nearest(const cv::Mat1i& labels, cv::Size size) {
  const auto columns = nearest_indices(labels.cols, size.width);
  const auto rows = nearest_indices(labels.rows, size.height);
  cv::Mat1i result(size);
  for (int y = 0; y < size.height; ++y) {
    const int* from = labels[rows[std::size_t(y)]];
    std::transform(columns.begin(), columns.end(), result[y], [from](int x) { return from[x]; });
  }
  return result;
}

cv::Mat1f resize_bilinear(const cv::Mat1f& scores, cv::Size size) {
  if (scores.size() == size) return scores;
  cv::Mat1f result;
  cv::resize(scores, result, size, 0, 0, cv::INTER_LINEAR);
  return result;
}

// Takes the steps back, the last first.
template <class Map, class Resize>
Map undo(Map map, const std::vector<Step>& steps, Resize resize) {
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    map = step->kind == Step::Kind::kPadding ? Map(map(cv::Rect({0, 0}, step->before))) : resize(map, step->before);
  }
  return map;
}

cv::Mat1i from_labels(const Tensor<std::int32_t>& labels, cv::Size input_size, const std::vector<Step>& steps) {
  const Shape wanted = {1, input_size.height, input_size.width};
  if (labels.shape != wanted) {
    throw Error(Exit::kModel,
                "the graph gives labels of " + to_string(labels.shape) + "; expected " + to_string(wanted));
  }
  // A view: nothing writes to it.
  const cv::Mat1i map(input_size.height, input_size.width, const_cast<std::int32_t*>(labels.values.data()));
  const cv::Mat1i restored = undo(map, steps, resize_nearest);
  return restored.data == map.data ? restored.clone() : restored;
}

// One class after the other, so that the memory of the full-size scores is never needed.
cv::Mat1i from_scores(const Tensor<float>& scores, cv::Size input_size, const std::vector<Step>& steps) {
  if (scores.shape.size() != 4 || scores.shape[0] != 1 || element_count(scores.shape) == 0) {
    throw Error(Exit::kModel, "the graph gives scores of " + to_string(scores.shape) + "; expected 1xKxHxW");
  }
  const cv::Size size(static_cast<int>(scores.shape[3]), static_cast<int>(scores.shape[2]));
  cv::Mat1f best;
  cv::Mat1i labels;
  for (int k = 0; k < scores.shape[1]; ++k) {
    auto* plane = const_cast<float*>(scores.values.data()) + std::ptrdiff_t(k) * size.area();
    const cv::Mat1f map =
        undo(resize_bilinear(cv::Mat1f(size.height, size.width, plane), input_size), steps, resize_bilinear);
    if (k == 0) {
      best = map.clone();
      labels = cv::Mat1i::zeros(map.size());
      continue;
    }
    for (int y = 0; y < map.rows; ++y) {
      const float* value = map[y];
      float* winner = best[y];
      int* label = labels[y];
      for (int x = 0; x < map.cols; ++x) {
        label[x] = value[x] > winner[x] ? k : label[x];
        winner[x] = std::max(winner[x], value[x]);
      }
    }
  }
  return labels;
}

}  // namespace

cv::Mat1i restore_labels(const Output& output, cv::Size input_size, const std::vector<Step>& steps,
                         const std::string& expected_kind) {
  const auto* labels = std::get_if<Tensor<std::int32_t>>(&output);
  const std::string kind = labels ? "labels" : "scores";
  if (!expected_kind.empty() && kind != expected_kind) {
    throw Error(Exit::kModel,
                "the graph gives " + kind + ", deploy.yaml says " + expected_kind + "; do they belong together?");
  }
  return labels ? from_labels(*labels, input_size, steps)
                : from_scores(std::get<Tensor<float>>(output), input_size, steps);
}

}  // namespace segment
