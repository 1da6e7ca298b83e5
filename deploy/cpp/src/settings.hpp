// Reading a yaml mapping: every key has to be asked for, and whoever is wrong is named.
#pragma once

#include <yaml-cpp/node/convert.h>
#include <yaml-cpp/node/impl.h>
#include <yaml-cpp/node/node.h>

#include <set>
#include <string>
#include <utility>

#include "error.hpp"

namespace segment {

class Settings {
 public:
  // `name` is how messages call the mapping.
  Settings(std::string name, YAML::Node node) : name_(std::move(name)), node_(std::move(node)) {
    if (!node_.IsMap()) fail("must be a mapping of keys to values");
  }

  // The value of `key`. Throws Error (kModel) when it is missing, or of another type.
  template <class T>
  T get(const std::string& key) {
    const YAML::Node value = find(key);
    if (!value) fail("needs " + key);
    return convert<T>(key, value);
  }

  // The value of `key`, or `otherwise` when it is missing or null.
  template <class T>
  T get(const std::string& key, T otherwise) {
    const YAML::Node value = find(key);
    return value && !value.IsNull() ? convert<T>(key, value) : otherwise;
  }

  // The value of `key` as it stands there; null or undefined ones included.
  YAML::Node find(const std::string& key) {
    asked_.insert(key);
    return std::as_const(node_)[key];
  }

  // Throws Error (kModel) for a key that nobody asked for.
  void reject_others() const {
    for (const auto& entry : node_) {
      const std::string& key = entry.first.Scalar();
      if (!asked_.count(key)) fail("does not know the setting '" + key + "'");
    }
  }

  [[noreturn]] void fail(const std::string& what) const { throw Error(Exit::kModel, name_ + " " + what); }

 private:
  template <class T>
  T convert(const std::string& key, const YAML::Node& value) const {
    try {
      return value.as<T>();
    } catch (const YAML::Exception&) {
      fail("has a value for " + key + " that does not fit");
    }
  }

  std::string name_;
  YAML::Node node_;
  std::set<std::string> asked_;
};

}  // namespace segment
