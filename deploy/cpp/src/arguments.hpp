// The command line.
#pragma once

#include <filesystem>
#include <string>

namespace segment {

struct Arguments {
  std::filesystem::path config;
  std::filesystem::path image_path;
  std::filesystem::path save_dir = "output/cpp";
  std::filesystem::path graph;  // empty: the one that deploy.yaml names
  std::filesystem::path json;   // empty: none
  std::string backend = "paddle";
  int threads = 1;
  int warmup = 0;
  int repeats = 1;
  bool help = false;
};

// Throws Error (kUsage) for a flag that is unknown, missing or has a value that cannot be.
Arguments parse_arguments(int argc, char** argv);

std::string usage();

}  // namespace segment
