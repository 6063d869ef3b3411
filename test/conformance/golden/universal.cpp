// What Universal computes with posits<n, 2>, as lines for make_universal.py: "name hex". Compiled by that script.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <universal/number/posit/posit.hpp>

using namespace sw::universal;

static void print(double x) {
    uint64_t bits;
    if (std::isnan(x)) x = 0;
    std::memcpy(&bits, &x, 8);
    std::printf("%016llx\n", (unsigned long long)bits);
}

template <unsigned n> static posit<n, 2> at(uint64_t code) { posit<n, 2> p; p.setbits(code); return p; }
template <unsigned n> static unsigned long long code(const posit<n, 2>& p) {
    return (unsigned long long)(p.bits().to_ull() & ((1ull << n) - 1));
}

template <unsigned n> static void values() {
    std::printf("values %u\n", n);
    for (uint64_t c = 0; c < (1ull << n); c++) print(c == (1ull << (n - 1)) ? 0.0 : double(at<n>(c)));
}

static double input(uint64_t i) {
    uint64_t u = (i * 2654435761ull + 977ull) % (1ull << 32);
    return (double(u >> 8) / 16777216.0 + 1) * std::ldexp(1.0, int(u & 127) - 64) * ((u & 128) ? -1 : 1);
}

template <unsigned n> static void codes() {
    std::printf("codes %u\n", n);
    for (uint64_t i = 0; i < 20000; i++) std::printf("%llx\n", code(posit<n, 2>(input(i))));
}

template <unsigned n> static void pair(char op, uint64_t a, uint64_t b) {
    posit<n, 2> x = at<n>(a), y = at<n>(b), r;
    if (op == '+') r = x + y;
    else if (op == '-') r = x - y;
    else if (op == '*') r = x * y;
    else r = x / y;
    std::printf("%llx\n", code(r));
}

template <unsigned n> static void arithmetic(uint64_t pairs) {
    for (char op : {'+', '-', '*', '/'}) {
        std::printf("%c %u\n", op, n);
        uint64_t all = 1ull << n;
        for (uint64_t i = 0; i < pairs; i++) {
            uint64_t u = pairs == all * all ? i : (i * 0x9e3779b97f4a7c15ull) >> 32;
            pair<n>(op, u % all, (u / all) % all);
        }
    }
    std::printf("sqrt %u\n", n);
    for (uint64_t c = 0; c < (1ull << (n - 1)); c++) std::printf("%llx\n", code(sqrt(at<n>(c))));
}

int main() {
    values<4>(); values<6>(); values<8>(); values<10>(); values<12>(); values<16>();
    codes<4>(); codes<6>(); codes<8>(); codes<10>(); codes<12>(); codes<16>(); codes<20>(); codes<32>();
    arithmetic<6>(1 << 12);
    arithmetic<8>(1 << 16);
    arithmetic<16>(8192);
}
