/* Runs the proof: the library, linked into a program that has no Rust of its own. */
#include <stddef.h>
#include <stdio.h>

size_t dunlin_no_std_message(void);

/* The precompiled `core` and `alloc` name the unwinder's hook; with panic = "abort" nothing ever calls it. */
void rust_eh_personality(void) {}

int main(void) {
    size_t received = dunlin_no_std_message();
    printf("received %zu bytes\n", received);
    return received == 13 ? 0 : 1;
}
