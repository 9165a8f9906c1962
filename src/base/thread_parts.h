// What threads of our own are made of, shared by the pool and by what runs in the background.
#pragma once
#include <pthread.h>
#include <stdbool.h>

int thread_cores(void);  // that this process may use
// Our threads take no signals: the host's handlers run on the host's threads.
bool thread_start(pthread_t *thread, void *(*fn)(void *), void *context);
void thread_condition_init(pthread_cond_t *condition);  // of the monotonic clock
// Waits for the condition for a moment, then looks after the budget; the mutex is held before and after.
void thread_wait_and_poll(pthread_cond_t *condition, pthread_mutex_t *mutex);
