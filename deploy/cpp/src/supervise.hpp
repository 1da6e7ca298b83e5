// Runs the work in a child process, so that a crash of a runtime becomes an error message.
#pragma once

#include <functional>

namespace segment {

// Calls `work` in a child process and returns its exit code. Paddle and OpenVINO abort or crash on some damaged
// graphs: then the reason is printed and the exit code is that of a runtime failure.
int supervise(const std::function<int()>& work);

}  // namespace segment
