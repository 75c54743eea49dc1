// The thread pool: started at the first parallel call, forgotten by a forked child, used by one
// caller at a time (a second caller that finds it busy works alone; results do not depend on it).
//
// Work is cut into tasks by the caller, as a function of sizes only; which thread runs a task never
// changes what the task computes, so the bits are the same for any number of threads.
#pragma once

#include <cstdint>
#include <type_traits>

namespace tilegrad::runtime {

// Threads the calling thread may use, itself included. The limit is per calling thread; a thread
// that set none uses TILEGRAD_NUM_THREADS, or else every usable processor.
int thread_limit();
void set_thread_limit(int threads);  // 0: back to the default

// Calls body(context, task) for each task in [0, tasks), on up to `threads` threads, the caller
// among them, and returns when all are done. Nested calls run on the caller alone. A body may run
// out of memory (std::bad_alloc reaches the caller); it must throw nothing else.
using TaskBody = void (*)(void* context, int64_t task);
void parallel_for_each(int64_t tasks, int threads, TaskBody body, void* context);

template <class Function>
void parallel_for(int64_t tasks, int threads, Function&& function) {
  using Plain = std::remove_reference_t<Function>;
  parallel_for_each(
      tasks, threads, [](void* context, int64_t task) { (*static_cast<Plain*>(context))(task); },
      const_cast<void*>(static_cast<const void*>(&function)));
}

// Threads worth using for `work` elementary operations (multiply-adds, or elements times their
// cost), at least `grain` for each thread.
int threads_for(double work, double grain);

// Interrupts. A caller that can be interrupted installs a token around long work; any thread of the
// work asks interrupted() between blocks (a few milliseconds at most) and stops early on true. Only
// the installing thread calls `poll`, at most every 50 ms.
using InterruptPoll = bool (*)();
class Interruptible {
 public:
  explicit Interruptible(InterruptPoll poll);
  ~Interruptible();
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;
  bool fired() const;

  struct Token;

 private:
  Token* token_;
  Token* outer_;
};
bool interrupted();

}  // namespace tilegrad::runtime
