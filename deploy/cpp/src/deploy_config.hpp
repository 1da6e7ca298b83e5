// deploy.yaml: what tools/export.py wrote down about an exported model.
#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "label_png.hpp"
#include "transforms.hpp"

namespace segment {

struct DeployConfig {
  std::filesystem::path model;  // absolute, or relative to where the program was started
  std::filesystem::path params;
  std::array<int, 4> input_shape{};  // N C H W; 0: any
  std::string output_op;             // "argmax", "vim", ...
  std::string output_kind;           // "labels", "scores", or empty: as the graph's output says
  int num_classes = 0;               // 0: not told
  bool is_rgb = true;                // the order of colours the graph takes
  // Of a graph whose exporter did not look: all that are known to miscompute some.
  std::vector<std::string> harmful_passes = {"reshape_transpose_matmul_mkldnn_fuse_pass",
                                             "conv_activation_mkldnn_fuse_pass"};
  std::vector<Transform> transforms;
  Palette palette = paddleseg_palette();
};

// Reads `path`, an exported folder or a deploy.yaml. PaddleSeg's own, which hold less, are read too.
// Throws Error (kModel) when it is missing or wrong, kUsage when `path` is neither.
DeployConfig read_deploy_config(const std::filesystem::path& path);

}  // namespace segment
