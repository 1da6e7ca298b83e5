// What goes into a graph and comes out of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <string>
#include <variant>
#include <vector>

namespace segment {

using Shape = std::vector<std::int64_t>;

// Dense values in row-major order; `values.size()` is the product of `shape`.
template <class T>
struct Tensor {
  Shape shape;
  std::vector<T> values;
};

// int32 labels [1, h, w] or float32 scores [1, K, h, w].
using Output = std::variant<Tensor<std::int32_t>, Tensor<float>>;

inline std::size_t element_count(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<>());
}

// "1x3x512x512"
inline std::string to_string(const Shape& shape) {
  std::string text;
  for (std::int64_t length : shape) text += (text.empty() ? "" : "x") + std::to_string(length);
  return text;
}

}  // namespace segment
