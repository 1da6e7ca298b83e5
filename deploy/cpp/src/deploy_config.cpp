#include "deploy_config.hpp"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string_view>

#include "settings.hpp"

namespace segment {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t kMaxBytes = 1 << 20;
constexpr int kMaxLength = 1 << 16;

YAML::Node load(const fs::path& path) {
  if (!fs::is_regular_file(path)) {
    throw Error(Exit::kModel, path.parent_path().string() + " is not an exported model: deploy.yaml is missing");
  }
  if (fs::file_size(path) > kMaxBytes) throw Error(Exit::kModel, path.string() + " is too long for a deploy.yaml");
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return translated(Exit::kModel, path.string() + " is not yaml", [&] { return YAML::Load(text.str()); });
}

std::array<int, 4> read_shape(Settings& deploy) {
  const YAML::Node node = deploy.find("input_shape");
  if (!node || node.IsNull()) return {0, 3, 0, 0};  // what PaddleSeg means by leaving it out
  if (!node.IsSequence() || node.size() != 4) deploy.fail("needs an input_shape of N C H W");
  std::array<int, 4> shape{};
  for (std::size_t i = 0; i < shape.size(); ++i) {
    // null, or -1 as some exporters write it
    const int length = node[i].IsNull() ? -1 : node[i].as<int>();
    if (length == 0 || length < -1 || length > kMaxLength) deploy.fail("has an input_shape that cannot be");
    shape[i] = length == -1 ? 0 : length;
  }
  if (shape[0] > 1) deploy.fail("fixes a batch of " + std::to_string(shape[0]) + "; export with a batch of 1");
  if (shape[1] != 1 && shape[1] != 3)
    deploy.fail("has " + std::to_string(shape[1]) + " channels; photographs have 3 or 1");
  return shape;
}

template <class Names>
std::string one_of(Settings& deploy, const std::string& key, const std::string& otherwise, const Names& names) {
  const auto value = deploy.get<std::string>(key, otherwise);
  for (const char* name : names) {
    if (value == name) return value;
  }
  deploy.fail("has " + key + " " + value);
}

// "#rrggbb"
Color read_color(Settings& label) {
  const auto text = label.get<std::string>("color");
  const std::string_view digits = "0123456789abcdefABCDEF";
  if (text.size() != 7 || text[0] != '#' || text.find_first_not_of(digits, 1) != std::string::npos) {
    label.fail("has the color " + text + "; needed is #rrggbb");
  }
  const auto byte = [&](std::size_t at) { return static_cast<std::uint8_t>(std::stoi(text.substr(at, 2), nullptr, 16)); };
  return {byte(1), byte(3), byte(5)};
}

void read_labels(const YAML::Node& labels, Settings& deploy, Palette& palette) {
  if (!labels || labels.IsNull()) return;
  if (!labels.IsSequence()) deploy.fail("needs a list of labels");
  for (std::size_t i = 0; i < std::min(labels.size(), palette.size()); ++i) {
    Settings label("each of the labels in deploy.yaml", labels[i]);
    palette[i] = read_color(label);
  }
}

DeployConfig interpret(const YAML::Node& root, const fs::path& folder) {
  Settings deploy("Deploy in deploy.yaml", Settings("deploy.yaml", root).get<YAML::Node>("Deploy"));
  DeployConfig config;
  config.model = folder / deploy.get<std::string>("model");
  config.params = folder / deploy.get<std::string>("params");
  config.input_shape = read_shape(deploy);
  config.output_op = deploy.get<std::string>("output_op", "none");
  config.output_kind = one_of(deploy, "output_kind", "", std::array{"", "labels", "scores"});
  config.num_classes = deploy.get("num_classes", 0);
  config.is_rgb = one_of(deploy, "color_order", "RGB", std::array{"RGB", "BGR"}) == "RGB";
  config.harmful_passes = deploy.get("harmful_passes", config.harmful_passes);
  read_labels(deploy.find("labels"), deploy, config.palette);
  const YAML::Node transforms = deploy.find("transforms");
  if (!transforms || transforms.IsNull()) return config;
  if (!transforms.IsSequence()) deploy.fail("needs a list of transforms");
  for (const YAML::Node& entry : transforms) config.transforms.push_back(make_transform(entry));
  return config;
}

}  // namespace

DeployConfig read_deploy_config(const fs::path& path) {
  if (!fs::exists(path)) {
    throw Error(Exit::kUsage, "--config " + path.string() + " does not exist; it takes an exported folder");
  }
  const fs::path file = fs::is_directory(path) ? path / "deploy.yaml" : path;
  const YAML::Node root = load(file);
  return translated(Exit::kModel, file.string(), [&] { return interpret(root, file.parent_path()); });
}

}  // namespace segment
