// Layers on a CPU that read and write memory less often than torch's. layers.py calls them.
//
// Tensors are channels_last: rows of `channels` values, one row a pixel. Gradients may lie further
// apart, `stride` values from row to row, as parts of a concatenation do. Sums are float within a
// block of rows and double beyond it, and each thread's part is added in order, so that a result
// depends on the number of threads alone. Compiled twice: with BFLOAT16 defined, and without.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <type_traits>
#include <vector>

constexpr int64_t BLOCK = 64;  // rows whose sum is float
constexpr int64_t VECTOR = 32;  // values in a vector of the widest processors
constexpr int64_t LANES = 64;  // channels of a pool whose values stay in registers

#ifdef BFLOAT16
using Value = uint16_t;  // the upper half of a float
using Integer = int16_t;
constexpr Integer INFINITE = 0x7f80;

static inline float load(Value x) {
    const uint32_t bits = uint32_t(x) << 16;
    float result;
    std::memcpy(&result, &bits, sizeof bits);
    return result;
}

static inline void store(Value* to, float x) {  // the nearest, ties to even
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const uint32_t nearest = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    *to = Value(x != x ? 0x7fc0 : nearest);
}
#else
using Value = float;
using Integer = int32_t;
constexpr Integer INFINITE = 0x7f800000;

static inline float load(Value x) { return x; }
static inline void store(Value* to, float x) { *to = x; }
#endif

// Calls work(thread, first, last) in each thread, on its share of `rows`.
template <class Work>
static void in_threads(int64_t threads, int64_t rows, const Work& work) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int64_t thread = 0; thread < threads; ++thread)
        work(thread, rows * thread / threads, rows * (thread + 1) / threads);
}

// Rows of `channels` values, several of them taken as one long row so that loops fill whole vectors.
struct LongRows {
    int64_t rows, channels, together, width, count;

    LongRows(int64_t rows, int64_t channels)
        : rows(rows),
          channels(channels),
          together(VECTOR / std::gcd(channels, VECTOR) * std::max<int64_t>(1, 128 / channels)),
          width(together * channels),
          count((rows + together - 1) / together) {}

    int64_t values(int64_t row) const { return std::min(width, rows * channels - row * width); }

    // A value a channel, as often as the channel is in a long row.
    std::vector<float> repeat(const float* from) const {
        std::vector<float> result;
        for (int64_t i = 0; i < together; ++i) result.insert(result.end(), from, from + channels);
        return result;
    }

    // Long row `row` of values that lie `stride` apart, which are copied to `buffer` if need be.
    const Value* gather(const Value* from, int64_t stride, int64_t row, Value* buffer) const {
        if (stride == channels) return from + row * width;
        const int64_t first = row * together, size = std::min(together, rows - first);
        for (int64_t i = 0; i < size; ++i)
            std::memcpy(buffer + i * channels, from + (first + i) * stride,
                        channels * sizeof(Value));
        return buffer;
    }
};

// Two sums for each channel: add(row, buffer, first, second) adds a long row's terms to them.
template <class Add>
static std::vector<double> two_sums(int64_t threads, const LongRows& long_rows, const Add& add) {
    const int64_t width = long_rows.width, channels = long_rows.channels;
    std::vector<double> parts(threads * 2 * channels, 0.0);
    in_threads(threads, long_rows.count, [&](int64_t thread, int64_t first, int64_t last) {
        std::vector<float> block(2 * width);
        std::vector<Value> buffer(width);
        double* part = parts.data() + thread * 2 * channels;
        for (int64_t start = first; start < last; start += BLOCK) {
            std::fill(block.begin(), block.end(), 0.0f);
            for (int64_t row = start; row < std::min(start + BLOCK, last); ++row)
                add(row, buffer.data(), block.data(), block.data() + width);
            const float* from = block.data();
            for (double* to : {part, part + channels})
                for (int64_t i = 0; i < long_rows.together; ++i)
                    for (int64_t c = 0; c < channels; ++c) to[c] += *from++;
        }
    });
    for (int64_t thread = 1; thread < threads; ++thread)
        for (int64_t i = 0; i < 2 * channels; ++i) parts[i] += parts[thread * 2 * channels + i];
    parts.resize(2 * channels);
    return parts;
}

// y = relu(x·scale + shift), where scale and shift follow from the batch's mean and variance.
extern "C" void batch_norm_relu_forward(const Value* x, int64_t rows, int64_t channels,
                                        const float* weight, const float* bias, float eps, Value* y,
                                        float* mean, float* variance, float* scale, float* shift,
                                        int64_t threads) {
    const LongRows all(rows, channels);
    // Squares are of distances from about the mean, that of some rows, so that they do not cancel.
    std::vector<float> origin(channels, 0.0f);
    const int64_t samples = std::min(rows, BLOCK);
    for (int64_t i = 0; i < samples; ++i)
        for (int64_t c = 0; c < channels; ++c)
            origin[c] += load(x[rows * i / samples * channels + c]) / samples;
    const std::vector<float> origins = all.repeat(origin.data());
    const auto add = [&](int64_t row, Value*, float* __restrict sum, float* __restrict squares) {
        const Value* __restrict xs = x + row * all.width;
        const float* __restrict from = origins.data();
        for (int64_t i = 0, n = all.values(row); i < n; ++i) {
            const float distance = load(xs[i]) - from[i];
            sum[i] += distance;
            squares[i] += distance * distance;
        }
    };
    const std::vector<double> sums = two_sums(threads, all, add);
    for (int64_t c = 0; c < channels; ++c) {
        const double distance = sums[c] / rows;
        mean[c] = float(origin[c] + distance);
        const double found = sums[channels + c] / rows - distance * distance;
        variance[c] = float(found < 0 ? 0 : found);  // NaN stays NaN
        scale[c] = weight[c] / std::sqrt(variance[c] + eps);
        shift[c] = bias[c] - mean[c] * scale[c];
    }
    const std::vector<float> scales = all.repeat(scale), shifts = all.repeat(shift);
    in_threads(threads, all.count, [&](int64_t, int64_t first, int64_t last) {
        for (int64_t row = first; row < last; ++row) {
            const Value* __restrict xs = x + row * all.width;
            const float *__restrict by = scales.data(), *__restrict plus = shifts.data();
            Value* __restrict ys = y + row * all.width;
            for (int64_t i = 0, n = all.values(row); i < n; ++i) {
                const float value = load(xs[i]) * by[i] + plus[i];
                store(ys + i, value < 0.0f ? 0.0f : value);
            }
        }
    });
}

// The ReLU's mask is computed again from x, which saves reading y.
extern "C" void batch_norm_relu_backward(const Value* grad, int64_t stride, const Value* x,
                                         int64_t rows, int64_t channels, float eps,
                                         const float* mean, const float* variance,
                                         const float* scale, const float* shift, Value* grad_x,
                                         float* grad_weight, float* grad_bias, int64_t threads) {
    const LongRows all(rows, channels);
    const std::vector<float> means = all.repeat(mean), scales = all.repeat(scale),
                             shifts = all.repeat(shift);
    const auto add = [&](int64_t row, Value* buffer, float* __restrict sum,
                         float* __restrict products) {
        const Value* __restrict xs = x + row * all.width;
        const Value* __restrict gs = all.gather(grad, stride, row, buffer);
        const float *__restrict by = scales.data(), *__restrict plus = shifts.data();
        const float* __restrict from = means.data();
        for (int64_t i = 0, n = all.values(row); i < n; ++i) {
            const float value = load(xs[i]);
            const float g = value * by[i] + plus[i] > 0.0f ? load(gs[i]) : 0.0f;
            sum[i] += g;
            products[i] += g * (value - from[i]);
        }
    };
    const std::vector<double> sums = two_sums(threads, all, add);
    std::vector<float> slope(channels), offset(channels);
    for (int64_t c = 0; c < channels; ++c) {
        const double inverse = 1 / std::sqrt(double(variance[c]) + eps);
        grad_bias[c] = float(sums[c]);
        grad_weight[c] = float(sums[channels + c] * inverse);
        slope[c] = float(-scale[c] * inverse * inverse * sums[channels + c] / rows);
        offset[c] = float(-scale[c] * sums[c] / rows - slope[c] * double(mean[c]));
    }
    const std::vector<float> slopes = all.repeat(slope.data()), offsets = all.repeat(offset.data());
    in_threads(threads, all.count, [&](int64_t, int64_t first, int64_t last) {
        std::vector<Value> buffer(all.width);
        for (int64_t row = first; row < last; ++row) {
            const Value* __restrict xs = x + row * all.width;
            const Value* __restrict gs = all.gather(grad, stride, row, buffer.data());
            const float *__restrict by = scales.data(), *__restrict plus = shifts.data();
            const float *__restrict times = slopes.data(), *__restrict add_ = offsets.data();
            Value* __restrict out = grad_x + row * all.width;
            for (int64_t i = 0, n = all.values(row); i < n; ++i) {
                const float value = load(xs[i]);
                const float g = value * by[i] + plus[i] > 0.0f ? load(gs[i]) : 0.0f;
                store(out + i, by[i] * g + times[i] * value + add_[i]);
            }
        }
    });
}

// An integer in the order of the value with these bits, NaN above all; its own inverse but for NaN.
static inline Integer ordered(Integer bits) {
    constexpr Integer largest = std::numeric_limits<Integer>::max();
    const Integer flipped = bits ^ (Integer(bits >> (8 * sizeof(Integer) - 1)) & largest);
    return Integer(bits & largest) > INFINITE ? largest : flipped;
}

struct Pool {
    int64_t batch, height, width, channels, out_height, out_width, kernel, stride, padding;
};

// Calls work(first, width) for parts of the channels; the widths are constants but for the last.
template <int64_t width = LANES, class Work>
static void by_lanes(int64_t channels, const Work& work, int64_t first = 0) {
    for (; first + width <= channels; first += width)
        work(first, std::integral_constant<int64_t, width>{});
    if constexpr (width > 8)
        by_lanes<width / 2>(channels, work, first);
    else if (first < channels)
        work(first, channels - first);
}

// y is the first of the largest values of a window, and `index` its place, row by row.
extern "C" void max_pool_forward(const Value* x, const Pool& p, Value* y, uint8_t* index,
                                 int64_t threads) {
    const Integer* bits = reinterpret_cast<const Integer*>(x);
    in_threads(threads, p.batch * p.out_height, [&](int64_t, int64_t first, int64_t last) {
        for (int64_t window = first * p.out_width; window < last * p.out_width; ++window) {
            const int64_t line = window / p.out_width, image = line / p.out_height;
            const int64_t top = line % p.out_height * p.stride - p.padding;
            const int64_t left = window % p.out_width * p.stride - p.padding;
            const int64_t i0 = std::max<int64_t>(-top, 0), i1 = std::min(p.kernel, p.height - top);
            const int64_t j0 = std::max<int64_t>(-left, 0), j1 = std::min(p.kernel, p.width - left);
            by_lanes(p.channels, [&](int64_t channel, auto lanes) {
                Integer best[LANES], place[LANES];
                for (int64_t c = 0; c < lanes; ++c) {
                    best[c] = std::numeric_limits<Integer>::min();
                    place[c] = Integer(i0 * p.kernel + j0);
                }
                for (int64_t i = i0; i < i1; ++i)
                    for (int64_t j = j0; j < j1; ++j) {
                        const int64_t pixel = (image * p.height + top + i) * p.width + left + j;
                        const Integer* __restrict xs = bits + pixel * p.channels + channel;
                        const Integer here = Integer(i * p.kernel + j);
                        for (int64_t c = 0; c < lanes; ++c) {
                            const Integer value = ordered(xs[c]);
                            const bool larger = value > best[c];
                            best[c] = larger ? value : best[c];
                            place[c] = larger ? here : place[c];
                        }
                    }
                Integer* ys = reinterpret_cast<Integer*>(y) + window * p.channels + channel;
                uint8_t* places = index + window * p.channels + channel;
                for (int64_t c = 0; c < lanes; ++c) {
                    ys[c] = ordered(best[c]);
                    places[c] = uint8_t(place[c]);
                }
            });
        }
    });
}

// Each pixel gathers the gradients of the windows that took their value from it.
extern "C" void max_pool_backward(const Value* grad, int64_t stride, const uint8_t* index,
                                  const Pool& p, Value* grad_x, int64_t threads) {
    const auto first_window = [&](int64_t at) {
        return at < p.kernel ? 0 : (at - p.kernel) / p.stride + 1;
    };
    in_threads(threads, p.batch * p.height, [&](int64_t, int64_t first, int64_t last) {
        for (int64_t pixel = first * p.width; pixel < last * p.width; ++pixel) {
            const int64_t line = pixel / p.width, image = line / p.height;
            const int64_t row = line % p.height + p.padding, column = pixel % p.width + p.padding;
            const int64_t y1 = std::min(row / p.stride + 1, p.out_height);
            const int64_t x1 = std::min(column / p.stride + 1, p.out_width);
            by_lanes(p.channels, [&](int64_t channel, auto lanes) {
                float sum[LANES];
                for (int64_t c = 0; c < lanes; ++c) sum[c] = 0;
                for (int64_t y = first_window(row); y < y1; ++y)
                    for (int64_t x = first_window(column); x < x1; ++x) {
                        const int64_t window = (image * p.out_height + y) * p.out_width + x;
                        const int64_t place =
                            (row - y * p.stride) * p.kernel + column - x * p.stride;
                        const uint8_t here = uint8_t(place);
                        const Value* __restrict gs = grad + window * stride + channel;
                        const uint8_t* __restrict places = index + window * p.channels + channel;
                        for (int64_t c = 0; c < lanes; ++c)
                            sum[c] += places[c] == here ? load(gs[c]) : 0.0f;
                    }
                Value* out = grad_x + pixel * p.channels + channel;
                for (int64_t c = 0; c < lanes; ++c) store(out + c, sum[c]);
            });
        }
    });
}

// scale^-beta; the published exponents by square roots, which the compiler vectorises.
static inline float power(float scale, float beta) {
    if (beta == 0.75f) return 1 / (std::sqrt(scale) * std::sqrt(std::sqrt(scale)));
    if (beta == 0.5f) return 1 / std::sqrt(scale);
    return std::pow(scale, -beta);
}

// to[c] = Σ from[c - below … c + above]; `from` has that many zeros on either side.
static inline void window_sum(const float* __restrict from, int64_t below, int64_t above,
                              int64_t channels, float* __restrict to) {
    for (int64_t c = 0; c < channels; ++c) to[c] = 0;
    for (int64_t shift = -below; shift <= above; ++shift)
        for (int64_t c = 0; c < channels; ++c) to[c] += from[c + shift];
}

// y = x·s^-beta with s = k + alpha · Σ x² over `below` and `above` neighbours of a channel; alpha
// is the formula's, divided by the size of the window.
extern "C" void lrn_forward(const Value* x, int64_t rows, int64_t channels, int64_t below,
                            int64_t above, float alpha, float beta, float k, Value* y,
                            int64_t threads) {
    in_threads(threads, rows, [&](int64_t, int64_t first, int64_t last) {
        std::vector<float> padded(channels + below + above, 0.0f), sums(channels);
        float* __restrict squares = padded.data() + below;
        float* __restrict sum = sums.data();
        for (int64_t row = first; row < last; ++row) {
            const Value* __restrict xs = x + row * channels;
            Value* __restrict ys = y + row * channels;
            for (int64_t c = 0; c < channels; ++c) squares[c] = load(xs[c]) * load(xs[c]);
            window_sum(squares, below, above, channels, sum);
            for (int64_t c = 0; c < channels; ++c)
                store(ys + c, load(xs[c]) * power(sum[c] * alpha + k, beta));
        }
    });
}

// dx = g·s^-beta − 2·alpha·beta·x · Σ g·x·s^(-beta-1), the sum over the mirrored window.
extern "C" void lrn_backward(const Value* grad, int64_t stride, const Value* x, int64_t rows,
                             int64_t channels, int64_t below, int64_t above, float alpha,
                             float beta, float k, Value* grad_x, int64_t threads) {
    in_threads(threads, rows, [&](int64_t, int64_t first, int64_t last) {
        const int64_t ends = below + above;
        std::vector<float> padded(channels + 2 * ends, 0.0f), sums(channels), factors(channels);
        float* __restrict terms = padded.data() + ends;
        float* __restrict sum = sums.data();
        float* __restrict direct = factors.data();
        for (int64_t row = first; row < last; ++row) {
            const Value* __restrict xs = x + row * channels;
            const Value* __restrict gs = grad + row * stride;
            Value* __restrict out = grad_x + row * channels;
            for (int64_t c = 0; c < channels; ++c) terms[c] = load(xs[c]) * load(xs[c]);
            window_sum(terms, below, above, channels, sum);
            for (int64_t c = 0; c < channels; ++c) {
                const float scale = sum[c] * alpha + k;
                direct[c] = load(gs[c]) * power(scale, beta);
                terms[c] = direct[c] * load(xs[c]) / scale;
            }
            window_sum(terms, above, below, channels, sum);
            for (int64_t c = 0; c < channels; ++c)
                store(out + c, direct[c] - 2 * alpha * beta * load(xs[c]) * sum[c]);
        }
    });
}
