// Arithmetic that takes subnormal numbers for zero, for the length of a scope on this thread. An
// operation on one of them costs the processor some 150 cycles instead of one, and what decays (the
// momentum of a unit that gets no gradient any more) ends among them and stays.
#pragma once

namespace tilegrad::runtime {

class SubnormalsAreZero {
 public:
#ifdef TILEGRAD_X86
  SubnormalsAreZero() : before_(__builtin_ia32_stmxcsr()) {
    __builtin_ia32_ldmxcsr(before_ | kFlush | kDenormalsAreZero);
  }
  ~SubnormalsAreZero() { __builtin_ia32_ldmxcsr(before_); }

 private:
  static constexpr unsigned kFlush = 0x8000, kDenormalsAreZero = 0x0040;  // bits 15 and 6 of MXCSR
  unsigned before_;

 public:
#else
  SubnormalsAreZero() {}  // no harm where the processor takes them in its stride
#endif
  SubnormalsAreZero(const SubnormalsAreZero&) = delete;
  SubnormalsAreZero& operator=(const SubnormalsAreZero&) = delete;
};

}  // namespace tilegrad::runtime
