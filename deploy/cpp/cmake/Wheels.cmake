# Sets WHEEL_<NAME> for every line NAME=value that wheels.py prints about ${Python}.
if(Python)
  execute_process(
    COMMAND ${Python} ${CMAKE_CURRENT_LIST_DIR}/wheels.py
    OUTPUT_VARIABLE wheels_lines RESULT_VARIABLE wheels_result ERROR_VARIABLE wheels_error)
  if(NOT wheels_result EQUAL 0)
    message(FATAL_ERROR "-DPython=${Python} does not run: ${wheels_result} ${wheels_error}")
  endif()
  string(REGEX MATCHALL "[^\n]+" wheels_lines "${wheels_lines}")
  foreach(line IN LISTS wheels_lines)
    string(REGEX MATCH "^([A-Z_]+)=(.*)$" matched "${line}")
    set(WHEEL_${CMAKE_MATCH_1} "${CMAKE_MATCH_2}")
  endforeach()
endif()
