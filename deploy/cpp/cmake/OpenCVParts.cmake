# The target `opencv_parts`: core, imgproc and imgcodecs.
#
# Debian ships OpenCVConfig.cmake in libopencv-dev alone, which brings some three hundred packages; the three parts
# come without it and are then looked for by name.
find_package(OpenCV QUIET COMPONENTS core imgproc imgcodecs)
add_library(opencv_parts INTERFACE)
if(OpenCV_FOUND)
  target_include_directories(opencv_parts SYSTEM INTERFACE ${OpenCV_INCLUDE_DIRS})
  target_link_libraries(opencv_parts INTERFACE ${OpenCV_LIBS})
else()
  find_path(OPENCV_INCLUDE_DIR opencv2/imgcodecs.hpp PATH_SUFFIXES opencv4)
  foreach(part imgcodecs imgproc core)
    find_library(OPENCV_${part}_LIBRARY opencv_${part})
    if(NOT OPENCV_INCLUDE_DIR OR NOT OPENCV_${part}_LIBRARY)
      message(FATAL_ERROR "OpenCV was not found: apt install libopencv-imgcodecs-dev")
    endif()
    target_link_libraries(opencv_parts INTERFACE ${OPENCV_${part}_LIBRARY})
  endforeach()
  target_include_directories(opencv_parts SYSTEM INTERFACE ${OPENCV_INCLUDE_DIR})
endif()
