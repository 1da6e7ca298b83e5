// Turns a photograph into labels at its size.
#pragma once

#include <memory>
#include <opencv2/core.hpp>

#include "backend.hpp"
#include "deploy_config.hpp"
#include "latency.hpp"

namespace segment {

class Segmenter {
 public:
  Segmenter(DeployConfig config, std::unique_ptr<Backend> backend);

  // Labels of `photo`, which read_image() gave. Throws Error.
  cv::Mat1i segment(const cv::Mat& photo, Times& times) const;

  // The channels photographs must be read with: 3 or 1.
  int channels() const { return config_.input_shape[1]; }

  const Palette& palette() const { return config_.palette; }

 private:
  DeployConfig config_;
  std::unique_ptr<Backend> backend_;
};

}  // namespace segment
