// The interface behind which the runtimes stand, each in a shared library of its own.
//
// The libraries lie beside the program and are loaded only if asked for. So a process holds only one runtime and its
// memory, and a missing runtime leads to a message instead of a program that does not start.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tensor.hpp"

namespace segment {

struct Graph {
  std::filesystem::path model;   // .pdmodel, or what else the runtime reads
  std::filesystem::path params;  // of a .pdmodel; other formats ignore it
  int threads = 1;
  std::vector<std::string> harmful_passes;  // passes that Paddle Inference must not run
};

class Backend {
 public:
  virtual ~Backend() = default;

  // Name and version of the runtime, such as "Paddle Inference 2.6.2".
  virtual std::string runtime() const = 0;

  // Runs the graph on one image [1, C, H, W]. Throws Error (kRuntime).
  virtual Output run(const Tensor<float>& input) = 0;
};

// What every backend library exports under kCreateBackend; the caller owns the result. Throws Error (kModel) for a
// graph it cannot take.
using CreateBackend = Backend*(const Graph&);
inline constexpr const char* kCreateBackend = "segment_create_backend";

// Loads the backend `name` ("paddle", "openvino") and the graph. Throws Error: kUsage for a backend that was not built.
std::unique_ptr<Backend> create_backend(const std::string& name, const Graph& graph);

}  // namespace segment
