// Running the work where a crash of a runtime costs no more than an error.
#pragma once

#include <functional>

namespace segment {

// Calls `work` in a child process and returns its exit code. Paddle and OpenVINO abort or crash on some damaged
// graphs: then the reason is printed and the exit code is that of a runtime failure.
int supervise(const std::function<int()>& work);

}  // namespace segment
