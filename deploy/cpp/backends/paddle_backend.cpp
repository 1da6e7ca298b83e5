// Paddle Inference: from the paddlepaddle wheel, or from Paddle's C++ tarball.

#include "../src/backend.hpp"
#include "../src/error.hpp"
#include "paddle_inference_api.h"

namespace segment {
namespace {

template <class T>
Tensor<T> fetch(const paddle_infer::Tensor& tensor) {
  const std::vector<int> shape = tensor.shape();
  Tensor<T> result{{shape.begin(), shape.end()}, {}};
  result.values.resize(element_count(result.shape));
  tensor.CopyToCpu(result.values.data());
  return result;
}

Output fetch_any(const paddle_infer::Tensor& tensor) {
  switch (tensor.type()) {
    case paddle_infer::DataType::FLOAT32: return fetch<float>(tensor);
    case paddle_infer::DataType::INT32: return fetch<std::int32_t>(tensor);
    case paddle_infer::DataType::INT64: {  // PaddleSeg's exports of old
      const Tensor<std::int64_t> wide = fetch<std::int64_t>(tensor);
      return Tensor<std::int32_t>{wide.shape, {wide.values.begin(), wide.values.end()}};
    }
    default: throw Error(Exit::kModel, "the graph gives neither float32 scores nor integer labels");
  }
}

std::shared_ptr<paddle_infer::Predictor> load(const Graph& graph) {
  if (graph.params.empty()) throw Error(Exit::kModel, "Paddle Inference reads .pdmodel, not " + graph.model.string());
  paddle_infer::Config config;
  config.SetModel(graph.model.string(), graph.params.string());
  config.DisableGpu();
  config.DisableGlogInfo();
  config.SetCpuMathLibraryNumThreads(graph.threads);
  for (const std::string& name : graph.harmful_passes) config.pass_builder()->DeletePass(name);
  return paddle_infer::CreatePredictor(config);
}

class PaddleBackend : public Backend {
 public:
  explicit PaddleBackend(const Graph& graph) : predictor_(load(graph)) {
    const auto inputs = predictor_->GetInputNames();
    const auto outputs = predictor_->GetOutputNames();
    if (inputs.size() != 1 || outputs.empty()) {
      throw Error(Exit::kModel, graph.model.string() + " has " + std::to_string(inputs.size()) + " inputs and " +
                                    std::to_string(outputs.size()) + " outputs; one image goes in");
    }
    input_ = predictor_->GetInputHandle(inputs.front());
    output_ = predictor_->GetOutputHandle(outputs.front());
  }

  std::string runtime() const override {
    const std::string version = gist(paddle_infer::GetVersion());  // "version: 2.6.2"
    return "Paddle Inference " + version.substr(version.find_last_of(' ') + 1);
  }

  Output run(const Tensor<float>& input) override {
    return translated(Exit::kRuntime, "Paddle Inference failed at " + to_string(input.shape), [&] {
      input_->Reshape({input.shape.begin(), input.shape.end()});
      input_->CopyFromCpu(input.values.data());
      if (!predictor_->Run()) throw Error(Exit::kRuntime, "Paddle Inference did not run the graph");
      return fetch_any(*output_);
    });
  }

 private:
  std::shared_ptr<paddle_infer::Predictor> predictor_;
  std::unique_ptr<paddle_infer::Tensor> input_, output_;
};

}  // namespace
}  // namespace segment

extern "C" segment::Backend* segment_create_backend(const segment::Graph& graph) {
  return segment::translated(segment::Exit::kModel, "Paddle Inference cannot load " + graph.model.string(),
                             [&] { return new segment::PaddleBackend(graph); });
}
