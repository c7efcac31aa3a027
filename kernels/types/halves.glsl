// Blocks of 32 whose bytes have an element in the low half and the one 16 further in the high half: a chunk is four bytes.
uint a_first(uint chunk) { return (chunk >> 2) * 32 + (chunk & 3) * 4; }
uint a_second(uint chunk) { return a_first(chunk) + 16; }
