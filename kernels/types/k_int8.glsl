// K types for int8 matrices: two neighbouring words an invocation. Scales are read when codes are staged, and not before as the codes are.
#define A_LOADERS 4
#define A_AT(item) ((item) * 2)
#define A_APART 1
struct Piece {
    uvec2 codes;
};

Piece a_fetch(uint block, uint item) { return Piece(uvec2(a_word(block, item * 2), a_word(block, item * 2 + 1))); }
uvec2 a_codes(Piece piece) { return piece.codes; }
