// What the fake cuBLASLt counts.
#pragma once
extern int fake_live, fake_calls;  // handles that were not given back; products
