// The few declarations of Paddle Inference that paddle_backend.cpp needs, for the paddlepaddle 2.6.2 wheel.
//
// The wheel's libpaddle.so exports Paddle Inference, but the wheel leaves its header out. With Paddle's own
// tarball (-DPADDLE_INFERENCE_DIR) its header is used and this one is not seen. A function declared wrongly here
// does not link. What linking cannot see is the layout of the classes, so this holds for 2.6.2 alone, which
// cmake checks: the size of Config (2,050 bytes are used) has a wide margin, PassStrategy has a virtual table
// where its base has none, and Tensor begins with a string and ends with another.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace paddle {

class PaddlePassBuilder {
 public:
  void DeletePass(const std::string& name);

 private:
  void* opaque_;
};

class PassStrategy : public PaddlePassBuilder {
 public:
  virtual ~PassStrategy();
};

class AnalysisConfig {
 public:
  AnalysisConfig();
  AnalysisConfig(const AnalysisConfig&) = delete;
  AnalysisConfig& operator=(const AnalysisConfig&) = delete;
  ~AnalysisConfig();
  void SetModel(const std::string& model, const std::string& params);
  void SetCpuMathLibraryNumThreads(int threads);
  void DisableGlogInfo();
  void DisableGpu();
  PassStrategy* pass_builder() const;

 private:
  alignas(64) unsigned char opaque_[16384];
};

}  // namespace paddle

namespace paddle_infer {

using Config = paddle::AnalysisConfig;

enum DataType { FLOAT32, INT64, INT32 };  // the first of them

// Made by the library, destroyed by us.
class Tensor {
 public:
  void Reshape(const std::vector<int>& shape);
  template <class T>
  void CopyFromCpu(const T* values);
  template <class T>
  void CopyToCpu(T* values) const;
  std::vector<int> shape() const;
  DataType type() const;

 private:
  std::string name_;
  void* opaque_[5];
  std::string device_;
};
static_assert(sizeof(Tensor) == 0x68);

class Predictor {
 public:
  std::vector<std::string> GetInputNames();
  std::vector<std::string> GetOutputNames();
  std::unique_ptr<Tensor> GetInputHandle(const std::string& name);
  std::unique_ptr<Tensor> GetOutputHandle(const std::string& name);
  bool Run();
};

std::shared_ptr<Predictor> CreatePredictor(const Config& config);
std::string GetVersion();

}  // namespace paddle_infer
