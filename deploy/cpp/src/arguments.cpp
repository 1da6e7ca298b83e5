#include "arguments.hpp"

#include <getopt.h>

#include <array>
#include <charconv>

#include "error.hpp"

namespace segment {
namespace {

enum Flag {
  kConfig = 1,
  kImagePath,
  kSaveDir,
  kBackend,
  kThreads,
  kGraph,
  kWarmup,
  kRepeats,
  kBenchmark,
  kJson,
  kHelp
};

constexpr std::array<option, 12> kOptions = {{
    {"config", required_argument, nullptr, kConfig},
    {"image_path", required_argument, nullptr, kImagePath},
    {"save_dir", required_argument, nullptr, kSaveDir},
    {"backend", required_argument, nullptr, kBackend},
    {"threads", required_argument, nullptr, kThreads},
    {"graph", required_argument, nullptr, kGraph},
    {"warmup", required_argument, nullptr, kWarmup},
    {"repeats", required_argument, nullptr, kRepeats},
    {"benchmark", no_argument, nullptr, kBenchmark},
    {"json", required_argument, nullptr, kJson},
    {"help", no_argument, nullptr, kHelp},
    {nullptr, 0, nullptr, 0},
}};

constexpr int kBenchmarkWarmup = 10, kBenchmarkRepeats = 50;

[[noreturn]] void fail(const std::string& message) { throw Error(Exit::kUsage, message + " (see segment --help)"); }

int number(const std::string& flag, const std::string& text, int least, int most) {
  int value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || value < least || value > most) {
    fail("--" + flag + " takes a number from " + std::to_string(least) + " to " + std::to_string(most) + ", got " +
         text);
  }
  return value;
}

}  // namespace

Arguments parse_arguments(int argc, char** argv) {
  Arguments arguments;
  int warmup = -1, repeats = -1;
  bool is_benchmark = false;
  opterr = 0;
  for (int flag = 0; (flag = getopt_long(argc, argv, ":", kOptions.data(), nullptr)) != -1;) {
    const std::string value = optarg ? optarg : "";
    switch (flag) {
      case kConfig: arguments.config = value; break;
      case kImagePath: arguments.image_path = value; break;
      case kSaveDir: arguments.save_dir = value; break;
      case kBackend: arguments.backend = value; break;
      case kThreads: arguments.threads = number("threads", value, 1, 1024); break;
      case kGraph: arguments.graph = value; break;
      case kWarmup: warmup = number("warmup", value, 0, 1'000'000); break;
      case kRepeats: repeats = number("repeats", value, 1, 1'000'000); break;
      case kBenchmark: is_benchmark = true; break;
      case kJson: arguments.json = value; break;
      case kHelp: arguments.help = true; break;
      case ':': fail(std::string(argv[optind - 1]) + " needs a value");
      default: fail(std::string("unknown flag ") + argv[optind - 1]);
    }
  }
  if (arguments.help) return arguments;
  if (optind < argc) fail(std::string("unexpected ") + argv[optind]);
  if (arguments.config.empty()) fail("--config is missing: an exported folder");
  if (arguments.image_path.empty()) fail("--image_path is missing: a picture, a folder, or a text file of paths");
  arguments.warmup = warmup >= 0 ? warmup : is_benchmark ? kBenchmarkWarmup : 0;
  arguments.repeats = repeats >= 1 ? repeats : is_benchmark ? kBenchmarkRepeats : 1;
  return arguments;
}

std::string usage() {
  return R"(Segments photographs with an exported model.

  segment --config FOLDER --image_path PATH [--save_dir FOLDER] ...

  --config FOLDER       an exported folder, or its deploy.yaml
  --image_path PATH     a picture, a folder of them, or a text file of paths
  --save_dir FOLDER     where the masks go, as palette PNGs (output/cpp)
  --backend NAME        paddle, openvino, or what else was built (paddle)
  --graph FILE          another graph than deploy.yaml names, such as model.onnx for openvino
  --threads N           of the runtime and of image processing (1)
  --warmup N            uncounted runs of each picture (0)
  --repeats N           counted runs of each picture (1)
  --benchmark           the same as --warmup 10 --repeats 50
  --json FILE           writes all times there

Exit codes: 0 done, 2 command line, 4 a picture, 6 the model, 7 the runtime, 130 interrupted.
)";
}

}  // namespace segment
