// Segments photographs with an exported model: see README.md, or `segment --help`.

#include <algorithm>
#include <bitset>
#include <fstream>
#include <iostream>
#include <opencv2/core/utility.hpp>
#include <utility>

#include "arguments.hpp"
#include "backend.hpp"
#include "deploy_config.hpp"
#include "error.hpp"
#include "image_file.hpp"
#include "label_png.hpp"
#include "pictures.hpp"
#include "report.hpp"
#include "segmenter.hpp"
#include "supervise.hpp"

namespace segment {
namespace {

namespace fs = std::filesystem;

int count_labels(const cv::Mat1i& labels) {
  std::bitset<256> seen;  // write_labels() has refused others
  std::for_each(labels.begin(), labels.end(), [&](int label) { seen.set(static_cast<std::size_t>(label)); });
  return static_cast<int>(seen.count());
}

// Before the work starts: an hour of it must not end at the first mask.
void check_writable(const fs::path& folder) {
  std::error_code problem;
  fs::create_directories(folder, problem);
  const fs::path probe = folder / ".probe";
  const bool is_writable = !problem && std::ofstream(probe).good();
  fs::remove(probe, problem);
  if (!is_writable) throw Error(Exit::kUsage, "cannot write to " + folder.string() + "; choose another --save_dir");
}

void keep_source(const Picture& picture, const fs::path& save_dir) {
  std::error_code none;
  if (fs::equivalent(save_dir / picture.mask, picture.path, none)) {
    throw Error(Exit::kUsage, "the mask of " + picture.path.string() + " would take its place; choose another --save_dir");
  }
}

// Parameters lie in a file of their own beside a .pdmodel, under the same name when it is not deploy.yaml's.
Graph choose_graph(const DeployConfig& config, const Arguments& arguments) {
  if (arguments.graph.empty()) return {config.model, config.params, arguments.threads, config.harmful_passes};
  if (arguments.graph.extension() != ".pdmodel") return {arguments.graph, {}, arguments.threads, {}};
  const auto params = fs::path(arguments.graph).replace_extension(".pdiparams");
  return {arguments.graph, params, arguments.threads, DeployConfig{}.harmful_passes};
}

Segmented segment_picture(const Segmenter& segmenter, const Picture& picture, const Arguments& arguments,
                          Latency& latency) {
  const cv::Mat photo = read_image(picture.path, segmenter.channels());
  cv::Mat1i labels;
  for (int i = 0; i < arguments.warmup + arguments.repeats; ++i) {
    Times times{};
    labels = segmenter.segment(photo, times);
    if (latency.first_ms == 0) latency.first_ms = times.inference;
    if (i >= arguments.warmup) latency.runs.push_back(times);
  }
  const fs::path mask = arguments.save_dir / picture.mask;
  write_labels(mask, labels, segmenter.palette());
  return {picture.path.string(), mask.string(), photo.cols, photo.rows, count_labels(labels)};
}

void write_json(const Report& report, const Arguments& arguments) {
  std::ofstream file(arguments.json);
  file << to_json(report, arguments);
  file.close();
  if (!file) throw Error(Exit::kUsage, "cannot write " + arguments.json.string());
}

// A picture that cannot be used does not stop the others.
void run(const Arguments& arguments) {
  DeployConfig config = read_deploy_config(arguments.config);
  const std::vector<Picture> pictures = list_pictures(arguments.image_path);
  for (const Picture& picture : pictures) keep_source(picture, arguments.save_dir);
  check_writable(arguments.save_dir);
  cv::setNumThreads(arguments.threads);

  Report report;
  report.output_op = config.output_op;
  report.num_classes = config.num_classes;
  const Graph graph = choose_graph(config, arguments);
  Stopwatch watch;
  auto backend = create_backend(arguments.backend, graph);
  report.latency.init_ms = watch.lap_ms();
  report.runtime = backend->runtime();
  std::cout << report.runtime << ", " << arguments.threads << (arguments.threads == 1 ? " thread" : " threads") << ": "
            << graph.model.string() << ", " << config.output_op << ", " << config.num_classes << " classes"
            << std::endl;

  const Segmenter segmenter(std::move(config), std::move(backend));
  std::string failures;
  for (const Picture& picture : pictures) {
    try {
      report.pictures.push_back(segment_picture(segmenter, picture, arguments, report.latency));
      const Segmented& done = report.pictures.back();
      std::cout << done.mask << ": " << done.width << "x" << done.height << ", " << done.labels
                << (done.labels == 1 ? " class" : " classes") << std::endl;
    } catch (const Error& error) {
      if (error.code() != Exit::kData) throw;
      failures += std::string("\n") + error.what();
    }
  }
  if (!report.latency.runs.empty()) {
    std::cout << to_table(report.latency);
    if (!arguments.json.empty()) write_json(report, arguments);
  }
  if (!failures.empty()) {
    const std::size_t count = pictures.size() - report.pictures.size();
    throw Error(Exit::kData, std::to_string(count) + " of " + std::to_string(pictures.size()) +
                                 " pictures were left out:" + failures);
  }
}

int report_errors(int argc, char** argv) {
  try {
    const Arguments arguments = parse_arguments(argc, argv);
    if (arguments.help) {
      std::cout << usage();
    } else {
      run(arguments);
    }
    return static_cast<int>(Exit::kOk);
  } catch (const Error& error) {
    std::cerr << "error: " << error.what() << '\n';
    return static_cast<int>(error.code());
  } catch (const std::bad_alloc&) {
    std::cerr << "error: out of memory; try smaller pictures\n";
  } catch (const std::exception& error) {
    std::cerr << "error: " << gist(error.what()) << '\n';
  }
  return static_cast<int>(Exit::kRuntime);
}

}  // namespace
}  // namespace segment

int main(int argc, char** argv) {
  return segment::supervise([=] { return segment::report_errors(argc, argv); });
}
