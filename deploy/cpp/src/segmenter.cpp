#include "segmenter.hpp"

#include <opencv2/imgproc.hpp>
#include <utility>

#include "postprocess.hpp"

namespace segment {
namespace {

Sample start(const cv::Mat& photo, bool is_rgb) {
  cv::Mat ordered = photo;
  if (is_rgb && photo.channels() == 3) cv::cvtColor(photo, ordered, cv::COLOR_BGR2RGB);
  Sample sample;
  ordered.convertTo(sample.image, CV_32F);  // before any resizing, as PaddleSeg does
  return sample;
}

// A graph of fixed size takes no other; 0 is any.
void fit(Sample& sample, int height, int width) {
  const cv::Size now = sample.image.size();
  const cv::Size wanted(width ? width : now.width, height ? height : now.height);
  if (wanted != now) resize(sample, wanted, cv::INTER_LINEAR);
}

// [H, W, C] to [1, C, H, W].
Tensor<float> to_tensor(const cv::Mat& image) {
  const int channels = image.channels();
  Tensor<float> tensor{{1, channels, image.rows, image.cols}, {}};
  tensor.values.resize(element_count(tensor.shape));
  std::vector<cv::Mat> planes;
  for (int c = 0; c < channels; ++c) {
    planes.emplace_back(image.size(), CV_32F, tensor.values.data() + std::ptrdiff_t(c) * image.size().area());
  }
  cv::split(image, planes.data());
  return tensor;
}

}  // namespace

Segmenter::Segmenter(DeployConfig config, std::unique_ptr<Backend> backend)
    : config_(std::move(config)), backend_(std::move(backend)) {}

cv::Mat1i Segmenter::segment(const cv::Mat& photo, Times& times) const {
  Stopwatch watch;
  Sample sample = start(photo, config_.is_rgb);
  for (const Transform& transform : config_.transforms) transform(sample);
  fit(sample, config_.input_shape[2], config_.input_shape[3]);
  const Tensor<float> input = to_tensor(sample.image);
  times.preprocessing = watch.lap_ms();
  const Output output = backend_->run(input);
  times.inference = watch.lap_ms();
  const cv::Mat1i labels = restore_labels(output, sample.image.size(), sample.steps, config_.output_kind);
  times.postprocessing = watch.lap_ms();
  return labels;
}

}  // namespace segment
