#include "pictures.hpp"

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <string>

#include "error.hpp"

namespace segment {
namespace {

namespace fs = std::filesystem;

bool is_image(const fs::path& path) {
  static const std::set<std::string> endings = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"};
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
  return endings.count(ending) > 0;
}

// Masks keep the folders of a relative path; those of any other would land outside of the folder they go to.
Picture picture(const fs::path& folder, const fs::path& name) {
  const bool is_inside = name.is_relative() && std::find(name.begin(), name.end(), "..") == name.end();
  return {folder / name, fs::path(is_inside ? name : name.filename()).replace_extension(".png")};
}

std::vector<Picture> from_folder(const fs::path& folder) {
  std::vector<Picture> found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (is_image(entry.path())) found.push_back(picture(folder, entry.path().lexically_relative(folder)));
  }
  std::sort(found.begin(), found.end(), [](const Picture& a, const Picture& b) { return a.path < b.path; });
  return found;
}

std::vector<Picture> from_list(const fs::path& list) {
  std::ifstream file(list);
  std::vector<Picture> found;
  for (std::string line; std::getline(file, line);) {
    line.erase(0, line.find_first_not_of(" \t\r"));
    line.erase(line.find_last_not_of(" \t\r") + 1);
    if (line.empty()) continue;
    if (line.find('\0') != line.npos) {
      throw Error(Exit::kData, list.string() + " is neither an image nor a text file of image paths");
    }
    // A name may hold blanks; otherwise what follows the first one is a label's.
    if (!fs::is_regular_file(list.parent_path() / line)) line.erase(std::min(line.find_first_of(" \t"), line.size()));
    if (!is_image(line))
      throw Error(Exit::kData, list.string() + " names " + line + ", which is no image (by its ending)");
    found.push_back(picture(list.parent_path(), line));
  }
  return found;
}

void reject_equal_masks(const std::vector<Picture>& pictures) {
  std::map<fs::path, fs::path> owners;
  for (const auto& [path, mask] : pictures) {
    const auto [owner, is_new] = owners.emplace(mask, path);
    if (!is_new && owner->second != path) {
      throw Error(Exit::kData, owner->second.string() + " and " + path.string() + " would both give the mask " +
                                   mask.string() + "; run them one by one");
    }
  }
}

}  // namespace

std::vector<Picture> list_pictures(const fs::path& path) {
  if (!fs::exists(path)) throw Error(Exit::kData, "no image, folder or list at " + path.string());
  const auto found = translated(Exit::kData, "cannot read " + path.string(), [&] {
    if (fs::is_directory(path)) return from_folder(path);
    if (is_image(path)) return std::vector<Picture>{picture(path.parent_path(), path.filename())};
    return from_list(path);
  });
  if (found.empty()) {
    throw Error(Exit::kData, path.string() + " names no image; known endings: .bmp .jpeg .jpg .png .tif .tiff .webp");
  }
  reject_equal_masks(found);
  return found;
}

}  // namespace segment
