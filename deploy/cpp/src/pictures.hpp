// Which photographs --image_path names, by the same rules as the Python programs.
#pragma once

#include <filesystem>
#include <vector>

namespace segment {

struct Picture {
  std::filesystem::path path;
  std::filesystem::path mask;  // below the folder that masks go to
};

// A file, a folder with all below it, or a text file of paths relative to it; what follows the first blank on a line
// is a label, and ignored. Throws Error (kData) when nothing is there, or two masks would have one name.
std::vector<Picture> list_pictures(const std::filesystem::path& path);

}  // namespace segment
