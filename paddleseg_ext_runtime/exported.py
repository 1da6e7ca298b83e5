"""The names of the files of an exported folder."""

MODEL_FILE = "model.pdmodel"
PARAMS_FILE = "model.pdiparams"
INFO_FILE = "model.pdiparams.info"
DEPLOY_FILE = "deploy.yaml"
ONNX_FILE = "model.onnx"
NB_FILE = "model.nb"
