// PaddleSeg 2.8.0's transforms, as deploy.yaml lists them; only those that act at validation.
#pragma once

#include <yaml-cpp/node/node.h>

#include <functional>

#include "sample.hpp"

namespace segment {

using Transform = std::function<void(Sample&)>;

// From one entry of deploy.yaml's `transforms`. Throws Error (kModel) naming a type or a setting that is unknown,
// that draws at random, or that has a wrong value; what it returns throws Error (kData) for an image it cannot take.
Transform make_transform(const YAML::Node& entry);

}  // namespace segment
