// The one kind of failure this program reports: a short message and the exit code of its kind.
#pragma once

#include <exception>
#include <sstream>
#include <stdexcept>
#include <string>

namespace segment {

enum class Exit {
  kOk = 0,
  kUsage = 2,    // the command line, or a folder that cannot be written to
  kData = 4,     // a photograph or a list of them
  kModel = 6,    // deploy.yaml or the graph
  kRuntime = 7,  // the runtime is missing, or failed on a graph it had accepted
};

// `what()` gives the found value, the needed value and a hint.
class Error : public std::runtime_error {
 public:
  Error(Exit code, const std::string& message) : std::runtime_error(message), code_(code) {}
  Exit code() const { return code_; }

 private:
  Exit code_;
};

// The first line with a message. Runtimes print the place of the error before it, in lines that end with a colon, and
// call stacks after it.
inline std::string gist(const std::string& text) {
  std::istringstream lines(text);
  std::string first;
  for (std::string line; std::getline(lines, line);) {
    line.erase(line.find_last_not_of(" \t\r") + 1);
    if (line.empty()) continue;
    if (line.back() != ':') return line;
    if (first.empty()) first = line;
  }
  return first.empty() ? "no reason given" : first;
}

// Returns what `work` returns; what a library throws in it becomes an Error of `code` beginning with `what`.
template <class Work>
auto translated(Exit code, const std::string& what, Work&& work) {
  try {
    return work();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(code, what + ": " + gist(error.what()));
  }
}

}  // namespace segment
