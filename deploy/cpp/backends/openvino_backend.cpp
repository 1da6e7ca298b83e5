// OpenVINO: reads .pdmodel, ONNX and its own IR.

#include <openvino/core/version.hpp>
#include <openvino/runtime/core.hpp>
#include <openvino/runtime/properties.hpp>

#include "../src/backend.hpp"
#include "../src/error.hpp"

namespace segment {
namespace {

template <class T, class Element = T>
Tensor<T> fetch(const ov::Tensor& tensor) {
  const ov::Shape shape = tensor.get_shape();
  const Element* values = tensor.data<const Element>();
  return {{shape.begin(), shape.end()}, {values, values + tensor.get_size()}};
}

Output fetch_any(const ov::Tensor& tensor) {
  const ov::element::Type type = tensor.get_element_type();
  if (type == ov::element::f32) return fetch<float>(tensor);
  if (type == ov::element::i32) return fetch<std::int32_t>(tensor);
  if (type == ov::element::i64) return fetch<std::int32_t, std::int64_t>(tensor);
  throw Error(Exit::kModel, "the graph gives " + type.get_type_name() + ", neither float32 scores nor integer labels");
}

ov::InferRequest load(const Graph& graph) {
  ov::Core core;
  auto model = core.read_model(graph.model.string(), graph.params.string());
  if (model->inputs().size() != 1 || model->outputs().empty()) {
    throw Error(Exit::kModel, graph.model.string() + " has " + std::to_string(model->inputs().size()) + " inputs and " +
                                  std::to_string(model->outputs().size()) + " outputs; one image goes in");
  }
  // On processors that have it, bfloat16 would be the default, and cost labels.
  auto compiled = core.compile_model(model, "CPU", ov::inference_num_threads(graph.threads), ov::num_streams(1),
                                     ov::hint::inference_precision(ov::element::f32));
  return compiled.create_infer_request();
}

class OpenvinoBackend : public Backend {
 public:
  explicit OpenvinoBackend(const Graph& graph) : request_(load(graph)) {}

  std::string runtime() const override {
    const std::string build = ov::get_openvino_version().buildNumber;  // "2026.4.1-22982-e213a147257-releases/…"
    return "OpenVINO " + build.substr(0, build.find('-'));
  }

  Output run(const Tensor<float>& input) override {
    return translated(Exit::kRuntime, "OpenVINO failed at " + to_string(input.shape), [&] {
      // The request reads the values where they are; it does not change them.
      auto* values = const_cast<float*>(input.values.data());
      request_.set_input_tensor(ov::Tensor(ov::element::f32, {input.shape.begin(), input.shape.end()}, values));
      request_.infer();
      return fetch_any(request_.get_output_tensor(0));
    });
  }

 private:
  ov::InferRequest request_;
};

}  // namespace
}  // namespace segment

extern "C" segment::Backend* segment_create_backend(const segment::Graph& graph) {
  return segment::translated(segment::Exit::kModel, "OpenVINO cannot load " + graph.model.string(),
                             [&] { return new segment::OpenvinoBackend(graph); });
}
