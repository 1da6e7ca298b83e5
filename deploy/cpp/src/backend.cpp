#include "backend.hpp"

#include <dlfcn.h>

#include <map>
#include <string_view>

#include "error.hpp"

namespace segment {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "libsegment_";

// The backends beside the program, by name.
std::map<std::string, fs::path> built_backends() {
  std::map<std::string, fs::path> found;
  for (const auto& entry : fs::directory_iterator(fs::read_symlink("/proc/self/exe").parent_path())) {
    const std::string stem = entry.path().stem().string();
    if (stem.compare(0, kPrefix.size(), kPrefix) == 0 && entry.path().extension() == ".so") {
      found.emplace(stem.substr(kPrefix.size()), entry.path());
    }
  }
  return found;
}

fs::path library_of(const std::string& name) {
  const auto built = built_backends();
  const auto found = built.find(name);
  if (found != built.end()) return found->second;
  std::string names;
  for (const auto& [one, path] : built) names += " " + one;
  throw Error(Exit::kUsage, "no backend " + name + " was built; there is" + (names.empty() ? " none" : names));
}

}  // namespace

std::unique_ptr<Backend> create_backend(const std::string& name, const Graph& graph) {
  const fs::path path = library_of(name);
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
