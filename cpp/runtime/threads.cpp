#include "runtime/threads.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

#include "runtime/cpu.h"

namespace tilegrad::runtime {

using Clock = std::chrono::steady_clock;

struct Interruptible::Token {
  InterruptPoll poll;
  std::thread::id owner;
  std::atomic<bool> fired{false};
  Clock::time_point next;
};

namespace {

constexpr int kMostThreads = 256;  // beyond any machine this is tuned for; bounds a mistaken limit
constexpr auto kSpin = std::chrono::microseconds(50);  // longer than the gap between two kernels
constexpr auto kPollEvery = std::chrono::milliseconds(50);

thread_local int own_limit = 0;
thread_local bool inside_task = false;
thread_local Interruptible::Token* current_token = nullptr;

inline void pause_cpu() {
#ifdef TILEGRAD_X86
  __builtin_ia32_pause();
#endif
}

// Tasks are dealt out in as many runs as there are threads, and each thread begins with its own:
// called again on the same sizes it finds its part of the operands in its own cache. Who is done
// early helps.
struct Job {
  struct alignas(64) Run {  // a cache line each
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };

  Job(TaskBody task_body, void* task_context, int64_t tasks, int threads,
      Interruptible::Token* caller_token)
      : body(task_body), context(task_context), token(caller_token), parts(threads) {
    for (int i = 0; i < parts; ++i) {
      runs[i].next.store(tasks * i / parts, std::memory_order_relaxed);
      runs[i].end = tasks * (i + 1) / parts;
    }
  }

  void work(int part) {
    Interruptible::Token* outer_token = current_token;
    const bool outer_inside = inside_task;
    current_token = token;
    inside_task = true;
    try {
      for (int i = 0; i < parts; ++i) {
        Run& run = runs[(part + i) % parts];
        for (;;) {
          const int64_t task = run.next.fetch_add(1, std::memory_order_relaxed);
          if (task >= run.end) break;
          body(context, task);
        }
      }
    } catch (const std::bad_alloc&) {
      out_of_memory.store(true, std::memory_order_relaxed);
      for (int i = 0; i < parts; ++i) {
        runs[i].next.store(runs[i].end, std::memory_order_relaxed);
      }
    }
    inside_task = outer_inside;
    current_token = outer_token;
  }

  TaskBody body;
  void* context;
  Interruptible::Token* token;
  int parts;  // the caller is the first, helpers follow as they join
  std::atomic<bool> out_of_memory{false};
  Run runs[kMostThreads];
};

// Workers join a job by taking one of its places. `state_` holds the job's number in the high bits
// and the places left in the low 16: closing the job and counting who joined is one exchange, and a
// sleeping worker that wakes late finds no place and touches nothing.
class Pool {
 public:
  void run(Job& job, int helpers) {
    while (workers_ < helpers && start_worker()) {
    }
    helpers = std::min(helpers, workers_);  // the others' runs are found by who is done early
    const uint64_t number = ((state_.load(std::memory_order_relaxed) >> 16) + 1) << 16;
    job_ = &job;
    left_.store(0, std::memory_order_relaxed);
    state_.store(number | static_cast<uint64_t>(helpers), std::memory_order_seq_cst);
    if (sleeping_.load(std::memory_order_seq_cst) > 0) {
      std::lock_guard<std::mutex> lock(mutex_);
      wake_.notify_all();
    }
    job.work(0);
    const uint64_t before = state_.exchange(number, std::memory_order_acq_rel);
    const int joined = helpers - static_cast<int>(before & 0xffff);
    int spins = 0;
    while (left_.load(std::memory_order_acquire) != joined) {
      pause_cpu();
      if (++spins > 2000) {  // some 50 us: the helper has lost its processor
        interrupted();
        std::this_thread::yield();
      }
    }
  }

  std::mutex busy;  // held by the one caller that uses the pool

 private:
  // False when the system has no more threads to give.
  bool start_worker() {
    try {
      std::thread([this] { serve(); }).detach();
    } catch (const std::system_error&) {
      return false;
    }
    ++workers_;
    return true;
  }

  [[noreturn]] void serve() {
    uint64_t last = 0;
    for (;;) {
      uint64_t state = wait_for_job(last);
      last = state >> 16;
      while ((state >> 16) == last && (state & 0xffff) != 0) {
        if (state_.compare_exchange_weak(state, state - 1, std::memory_order_acq_rel)) {
          job_->work(job_->parts - static_cast<int>(state & 0xffff));
          left_.fetch_add(1, std::memory_order_release);
          break;
        }
      }
    }
  }

  uint64_t wait_for_job(uint64_t last) {
    const Clock::time_point start = Clock::now();
    for (int i = 1;; ++i) {
      const uint64_t state = state_.load(std::memory_order_acquire);
      if ((state >> 16) != last) return state;
      pause_cpu();
      if (i % 64 == 0 && Clock::now() - start > kSpin) break;
    }
    std::unique_lock<std::mutex> lock(mutex_);
    sleeping_.fetch_add(1, std::memory_order_seq_cst);
    wake_.wait(lock, [&] { return (state_.load(std::memory_order_seq_cst) >> 16) != last; });
    sleeping_.fetch_sub(1, std::memory_order_relaxed);
    return state_.load(std::memory_order_acquire);
  }

  std::atomic<uint64_t> state_{0};
  std::atomic<int> left_{0}, sleeping_{0};
  Job* job_ = nullptr;
  int workers_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
};

// Never destroyed: workers outlive main(). A forked child has no workers, so it forgets the pool.
std::atomic<Pool*> pool{nullptr};

Pool& the_pool() {
  Pool* existing = pool.load(std::memory_order_acquire);
  if (existing != nullptr) return *existing;
  static std::once_flag fork_handler;
  std::call_once(fork_handler, [] {
    pthread_atfork(nullptr, nullptr, [] { pool.store(nullptr, std::memory_order_relaxed); });
  });
  Pool* fresh = new Pool;
  if (pool.compare_exchange_strong(existing, fresh, std::memory_order_acq_rel)) return *fresh;
  delete fresh;
  return *existing;
}

int default_limit() {
  static const int limit = [] {
    if (const char* text = std::getenv("TILEGRAD_NUM_THREADS")) {
      const int asked = std::atoi(text);
      if (asked >= 1) return std::min(asked, kMostThreads);
    }
    return std::min(usable_cpus(), kMostThreads);
  }();
  return limit;
}

}  // namespace

int thread_limit() { return own_limit > 0 ? own_limit : default_limit(); }

void set_thread_limit(int threads) { own_limit = std::clamp(threads, 0, kMostThreads); }

void parallel_for_each(int64_t tasks, int threads, TaskBody body, void* context) {
  const int wanted = static_cast<int>(std::min<int64_t>({threads, thread_limit(), tasks}));
  if (wanted > 1 && !inside_task) {
    Pool& shared = the_pool();
    std::unique_lock<std::mutex> lock(shared.busy, std::try_to_lock);
    if (lock.owns_lock()) {
      Job job(body, context, tasks, wanted, current_token);
      shared.run(job, wanted - 1);
      if (job.out_of_memory.load(std::memory_order_relaxed)) throw std::bad_alloc();
      return;
    }
  }
  for (int64_t task = 0; task < tasks; ++task) body(context, task);
}

int threads_for(double work, double grain) {
  const int limit = inside_task ? 1 : thread_limit();
  if (limit == 1 || work < 2 * grain) return 1;
  return static_cast<int>(std::min<double>(limit, work / grain));
}

Interruptible::Interruptible(InterruptPoll poll)
    : token_(new Token{poll, std::this_thread::get_id(), {}, Clock::now() + kPollEvery}),
      outer_(current_token) {
  current_token = token_;
}

Interruptible::~Interruptible() {
  current_token = outer_;
  delete token_;
}

bool Interruptible::fired() const { return token_->fired.load(std::memory_order_relaxed); }

bool interrupted() {
  Interruptible::Token* token = current_token;
  if (token == nullptr) return false;
  if (token->fired.load(std::memory_order_relaxed)) return true;
  if (token->owner != std::this_thread::get_id() || Clock::now() < token->next) return false;
  token->next = Clock::now() + kPollEvery;
  if (!token->poll()) return false;
  token->fired.store(true, std::memory_order_relaxed);
  return true;
}

}  // namespace tilegrad::runtime
