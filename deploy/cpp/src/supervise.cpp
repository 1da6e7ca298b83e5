#include "supervise.hpp"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iostream>

#include "error.hpp"

namespace segment {
namespace {

[[noreturn]] void run_child(const std::function<int()>& work, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(static_cast<int>(Exit::kRuntime));  // it ended before the line above
  const int code = work();
  std::cout.flush();
  std::fflush(nullptr);
  _exit(code);  // without the runtimes' destructors, some of which wait for threads
}

}  // namespace

int supervise(const std::function<int()>& work) {
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) {
    std::cerr << "error: cannot start a process: " << std::strerror(errno) << '\n';
    return static_cast<int>(Exit::kRuntime);
  }
  if (child == 0) run_child(work, parent);
  std::signal(SIGINT, SIG_IGN);  // the child gets it as well, and its end is what counts
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  const int signal = WTERMSIG(status);
  if (signal == SIGINT || signal == SIGTERM) {
    std::cerr << "interrupted\n";
    return 128 + signal;
  }
  std::cerr << "error: the runtime was ended by SIG" << sigabbrev_np(signal)
            << "; is the model complete? Another --backend may say more\n";
  return static_cast<int>(Exit::kRuntime);
}

}  // namespace segment
