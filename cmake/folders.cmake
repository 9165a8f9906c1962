# Every folder of the house is one static library. ingot_folder(NAME FOLDER DEPENDENCIES...) takes every .c in FOLDER.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)

function(ingot_folder name folder)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.c)
  if(NOT sources)
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE ${ARGN} ingot_flags)
    return()
  endif()
  add_library(${name} STATIC ${sources})
  target_link_libraries(${name} PUBLIC ${ARGN} PRIVATE ingot_flags)
endfunction()

# Device code travels inside the library as text: every .cuh under kernels/ becomes a row of one generated table.
file(GLOB_RECURSE device_sources CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/kernels/*.cuh)
list(TRANSFORM device_sources PREPEND ${CMAKE_SOURCE_DIR}/ OUTPUT_VARIABLE device_paths)
add_custom_command(
  OUTPUT ${CMAKE_BINARY_DIR}/generated/device_sources.c
  COMMAND ${CMAKE_COMMAND} -DROOT=${CMAKE_SOURCE_DIR} "-DSOURCES=${device_sources}" -DTABLE=device_sources -DOUT=${CMAKE_BINARY_DIR}/generated/device_sources.c
          -P ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
  DEPENDS ${device_paths} ${CMAKE_SOURCE_DIR}/cmake/embed.cmake VERBATIM)
add_library(ingot_device STATIC ${CMAKE_BINARY_DIR}/generated/device_sources.c)
target_link_libraries(ingot_device PRIVATE ingot_flags)

# The protobuf schema of ONNX, written from the specification's field numbers, compiled at build.
find_program(PROTOC_C protoc-c REQUIRED)
if(EXISTS ${CMAKE_SOURCE_DIR}/onnx/onnx.proto)
  add_custom_command(
    OUTPUT ${CMAKE_BINARY_DIR}/generated/onnx.pb-c.c ${CMAKE_BINARY_DIR}/generated/onnx.pb-c.h
    COMMAND ${PROTOC_C} --c_out=${CMAKE_BINARY_DIR}/generated -I ${CMAKE_SOURCE_DIR}/onnx ${CMAKE_SOURCE_DIR}/onnx/onnx.proto
    DEPENDS ${CMAKE_SOURCE_DIR}/onnx/onnx.proto VERBATIM)
  add_library(ingot_proto STATIC ${CMAKE_BINARY_DIR}/generated/onnx.pb-c.c ${CMAKE_BINARY_DIR}/generated/onnx.pb-c.h)
  target_include_directories(ingot_proto PUBLIC ${CMAKE_BINARY_DIR}/generated)
  target_link_libraries(ingot_proto PUBLIC PkgConfig::PROTOBUF_C)
else()
  add_library(ingot_proto INTERFACE)
endif()

ingot_folder(ingot_base src/base Threads::Threads m)
ingot_folder(ingot_ir src/ir ingot_base)
# The interpreter's loops (src/ir/strip_loops.inc) are built for three instruction sets, optimised in every configuration.
set(strip_flags -O3 -fwrapv -fno-trapping-math -ffp-contract=fast $<$<C_COMPILER_ID:Clang>:-Wno-pass-failed>)
set_source_files_properties(src/ir/strip_generic.c PROPERTIES COMPILE_OPTIONS "${strip_flags}")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set_source_files_properties(src/ir/strip_avx2.c PROPERTIES COMPILE_OPTIONS "${strip_flags};-mavx2;-mfma;-mf16c")
  set_source_files_properties(src/ir/strip_avx512.c PROPERTIES COMPILE_OPTIONS
    "${strip_flags};-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mfma;-mf16c;-mprefer-vector-width=512")
endif()
ingot_folder(ingot_cuda src/cuda ingot_base ${CMAKE_DL_LIBS})

# kernels/: one folder per family, one library for all, above the IR and the CUDA tables it calls through.
file(GLOB_RECURSE kernel_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/*.c)
# The loops of products (kernels/common/cpu_gemm_loops.inc) are built for four instruction sets.
set(gemm_flags -O3 -fwrapv -ffp-contract=fast)
set_source_files_properties(kernels/common/cpu_gemm_generic.c PROPERTIES COMPILE_OPTIONS "${gemm_flags}")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set_source_files_properties(kernels/common/cpu_gemm_avx2.c PROPERTIES COMPILE_OPTIONS "${gemm_flags};-mavx2;-mfma")
  set_source_files_properties(kernels/common/cpu_gemm_avx512.c PROPERTIES COMPILE_OPTIONS "${gemm_flags};-mavx512f;-mavx512bw;-mfma")
  set_source_files_properties(kernels/common/cpu_gemm_vnni.c PROPERTIES COMPILE_OPTIONS "${gemm_flags};-mavx512f;-mavx512bw;-mavx512vnni;-mfma")
endif()
# Those of pooling (kernels/pool/cpu_pool_loops.inc) for three.
set(pool_flags -O3 -fwrapv -fno-trapping-math)
set_source_files_properties(kernels/pool/cpu_pool_generic.c PROPERTIES COMPILE_OPTIONS "${pool_flags}")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set_source_files_properties(kernels/pool/cpu_pool_avx2.c PROPERTIES COMPILE_OPTIONS "${pool_flags};-mavx2;-mfma")
  set_source_files_properties(kernels/pool/cpu_pool_avx512.c PROPERTIES COMPILE_OPTIONS
    "${pool_flags};-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mfma;-mprefer-vector-width=512")
endif()
if(kernel_sources)
  add_library(ingot_kernels STATIC ${kernel_sources})
  target_link_libraries(ingot_kernels PUBLIC ingot_ir ingot_cuda ingot_device PRIVATE ingot_flags)
else()
  add_library(ingot_kernels INTERFACE)
endif()

ingot_folder(ingot_passes src/passes ingot_kernels)
ingot_folder(ingot_tune src/tune ingot_kernels)
ingot_folder(ingot_plan src/plan ingot_kernels)
ingot_folder(ingot_engine src/engine ingot_plan)
ingot_folder(ingot_runtime_core src/runtime ingot_engine ingot_tune)

# onnx/: the translations know nothing of protobuf and serve the run-time too; reading models stands on them.
set(onnx_ops_sources translate node_check schema rules waiting ops)
list(TRANSFORM onnx_ops_sources REPLACE "(.+)" "${CMAKE_SOURCE_DIR}/onnx/\\1.c")
file(GLOB onnx_translations CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/onnx/ops/*.c)
add_library(ingot_onnx_ops STATIC ${onnx_ops_sources} ${onnx_translations})
target_link_libraries(ingot_onnx_ops PUBLIC ingot_kernels PRIVATE ingot_flags)
file(GLOB onnx_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/onnx/*.c)
list(REMOVE_ITEM onnx_sources ${onnx_ops_sources})
add_library(ingot_onnx STATIC ${onnx_sources})
target_link_libraries(ingot_onnx PUBLIC ingot_onnx_ops ingot_proto PRIVATE ingot_flags)

# The public libraries. libingot holds everything; libingot-runtime what running a finished engine takes. Only INGOT_API is visible.
file(GLOB api_run CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/api/*.c)
list(REMOVE_ITEM api_run ${CMAKE_SOURCE_DIR}/src/api/build.c)  # which needs the importer
set(run_folders ingot_runtime_core ingot_passes ingot_tune ingot_onnx_ops)
add_library(ingot SHARED ${api_run} ${CMAKE_SOURCE_DIR}/src/api/build.c)
target_link_libraries(ingot PRIVATE ${run_folders} ingot_onnx ingot_flags)
add_library(ingot_runtime SHARED ${api_run})
target_link_libraries(ingot_runtime PRIVATE ${run_folders} ingot_flags)
set_target_properties(ingot_runtime PROPERTIES OUTPUT_NAME ingot-runtime)
set_target_properties(ingot ingot_runtime PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
foreach(library ingot ingot_runtime)
  target_include_directories(${library} INTERFACE $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
  target_link_options(${library} PRIVATE -Wl,--exclude-libs,ALL)
  if(NOT INGOT_SANITIZE)  # a sanitized library takes its run-time from the program
    target_link_options(${library} PRIVATE -Wl,--no-undefined)
  endif()
endforeach()

# The command line stands on the folders themselves: it shows what the public interface hides.
add_library(ingot_api STATIC ${api_run} ${CMAKE_SOURCE_DIR}/src/api/build.c)
target_link_libraries(ingot_api PUBLIC ${run_folders} ingot_onnx PRIVATE ingot_flags)
file(GLOB cli_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/cli/*.c)
add_executable(ingot_cli ${cli_sources})
find_package(ZLIB REQUIRED)
find_path(STB_INCLUDE stb_image.h PATH_SUFFIXES stb REQUIRED)
target_include_directories(ingot_cli SYSTEM PRIVATE ${STB_INCLUDE})
target_link_libraries(ingot_cli PRIVATE ingot_api ZLIB::ZLIB ingot_flags)
set_target_properties(ingot_cli PROPERTIES OUTPUT_NAME ingot)

include(${CMAKE_CURRENT_SOURCE_DIR}/cmake/install.cmake)
if(INGOT_EXAMPLES AND NOT INGOT_SANITIZE)
  add_subdirectory(examples)
endif()
if(INGOT_TESTS)
  enable_testing()
  add_subdirectory(tests)
endif()
