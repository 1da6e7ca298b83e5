#include "backend.hpp"

#include <dlfcn.h>

#include "error.hpp"

namespace segment {
namespace {

namespace fs = std::filesystem;

fs::path library_of(const std::string& name) {
  return fs::read_symlink("/proc/self/exe").parent_path() / ("libsegment_" + name + ".so");
}

}  // namespace

std::unique_ptr<Backend> create_backend(const std::string& name, const Graph& graph) {
  const fs::path path = library_of(name);
  if (!fs::exists(path)) {
    throw Error(Exit::kRuntime,
                "the backend " + name + " was not built (no " + path.string() + "); what cmake prints says why");
  }
  for (const fs::path& file : {graph.model, graph.params}) {
    if (!file.empty() && !fs::is_regular_file(file)) {
      throw Error(Exit::kModel, file.string() + " is missing; tools/export.py writes it");
    }
  }
  // Never closed: the runtimes keep threads that run their code.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    throw Error(Exit::kRuntime, "cannot load the backend " + name + ": " + dlerror());
  }
  auto* create = reinterpret_cast<CreateBackend*>(dlsym(library, kCreateBackend));
  if (!create) throw Error(Exit::kRuntime, path.string() + " is not a backend of this program");
  return std::unique_ptr<Backend>(create(graph));
}

}  // namespace segment
