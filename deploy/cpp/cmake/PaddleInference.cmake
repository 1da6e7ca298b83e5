# The target `paddle_inference`, or `paddle_missing` with the reason why there is none.
#
# From Paddle's C++ tarball in PADDLE_INFERENCE_DIR, or from the paddlepaddle wheel: its libpaddle.so exports the same
# functions, and what backends/paddle_wheel declares of them holds for one version.
set(wheel_version 2.6.2)

if(PADDLE_INFERENCE_DIR)
  find_library(PADDLE_INFERENCE_LIBRARY paddle_inference PATHS ${PADDLE_INFERENCE_DIR}/paddle/lib NO_DEFAULT_PATH)
  if(NOT PADDLE_INFERENCE_LIBRARY)
    message(FATAL_ERROR "no paddle/lib/libpaddle_inference.so in ${PADDLE_INFERENCE_DIR}")
  endif()
  file(GLOB paddle_folders ${PADDLE_INFERENCE_DIR}/third_party/install/*/lib)
  add_library(paddle_inference INTERFACE)
  target_include_directories(paddle_inference SYSTEM INTERFACE ${PADDLE_INFERENCE_DIR}/paddle/include)
  target_link_libraries(paddle_inference INTERFACE ${PADDLE_INFERENCE_LIBRARY})
  set(paddle_folders ${PADDLE_INFERENCE_DIR}/paddle/lib ${paddle_folders})
elseif(NOT WHEEL_PADDLE)
  set(paddle_missing "neither -DPADDLE_INFERENCE_DIR nor the paddlepaddle wheel of -DPython")
elseif(NOT WHEEL_PADDLE_VERSION STREQUAL wheel_version)
  set(paddle_missing "the wheel is paddlepaddle ${WHEEL_PADDLE_VERSION}, this is written for ${wheel_version}")
elseif(NOT WHEEL_PYTHON_LIBRARY)
  set(paddle_missing "${Python} was built without a shared library, which the wheel needs; take one that has it")
else()
  get_filename_component(python_folder ${WHEEL_PYTHON_LIBRARY} DIRECTORY)
  set(paddle_folders ${WHEEL_PADDLE}/base ${WHEEL_PADDLE}/libs ${python_folder})
  add_library(paddle_inference INTERFACE)
  target_include_directories(paddle_inference INTERFACE ${CMAKE_CURRENT_SOURCE_DIR}/backends/paddle_wheel)
  # libpaddle.so does not say that it needs Python, so the backend must, though it calls nothing of it.
  target_link_libraries(paddle_inference INTERFACE
    ${WHEEL_PADDLE}/base/libpaddle.so ${WHEEL_PADDLE}/libs/libcommon.so
    -Wl,--push-state,--no-as-needed ${WHEEL_PYTHON_LIBRARY} -Wl,--pop-state)
endif()

if(TARGET paddle_inference)
  foreach(folder IN LISTS paddle_folders)
    target_link_options(paddle_inference INTERFACE -Wl,-rpath,${folder} -Wl,-rpath-link,${folder})
  endforeach()
endif()
