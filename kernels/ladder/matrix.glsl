// Kernels of cooperative-matrix features share these declarations: types from the defines T, A_T and SCOPE, shape from constants.
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_NV_cooperative_matrix2 : enable

layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;
layout(constant_id = 1) const uint M = 16;
layout(constant_id = 2) const uint N = 16;

layout(push_constant) uniform Parameters { uint mode; uint extent; uint offset; } p;
