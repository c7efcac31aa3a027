"""Matrix instructions in real ISA texts; texts written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from vkprobe.errors import UsageError
from vkprobe.session.isa import IsaFolder, matrix_instructions

# Lines of gemm_f16_coopmat_acc_f16 and of its end, as Mesa 26.1 prints them for null devices.
RADV = """BB12:
	v_wmma_f16_16x16x16_f16 v[4:7], v[72:79], v[112:119], v[4:7] ; cc424004 1c12e148
	v_wmma_f16_16x16x16_f16 v[8:11], v[80:87], v[112:119], v[8:11] ; cc424008 1c22e150
	s_mov_b32 s9, 0                                             ; be890080
	s_endpgm                                                    ; bfb00000
"""
NVK = """block.u 0 L2 [] -> {
      r0..2    = hmma.m16n8k16.f16 r80..84 r94..96 r0..2          // delay=15 wt=010010 wr:1
      r0..2    = imma.m16n8k32.s8.s8 r88..92 r92..94 r0..2        // delay=14 wt=001000 rd:1 wr:2
      r64      = hfma2 r91 r2 r3                                  // delay=1
                 exit                                             // delay=1
} -> []
"""
ANV = """dpas.8x8(16)    g71<1>HF        g35<1,1,0>HF    g3<1,1,0>HF     g67<1,1,0>HF { align1 WE_all 1H $11 };
mov(32)         g100<1>UD       g1<8,8,1>UW                     { align1 };
                gateway MsgDesc: (open)  mlen 1 ex_mlen 0 rlen 0 { align1 WE_all I@1 EOT };
"""
TURNIP = "(sy)(rpt1)mad.f32 r0.x, (r)r1.x, c0.x, (r)r2.x\nend\n"


@pytest.mark.parametrize(
    ("name", "text", "count"),
    [("Assembly", RADV, 2), ("NAK assembly", NVK, 2), ("GEN Assembly", ANV, 1), ("IR3 Assembly", TURNIP, 0)],
)
def test_matrix_instructions_are_counted(name: str, text: str, count: int) -> None:
    """AMD's, NVIDIA's and Intel's, once each; other instructions are none."""
    assert matrix_instructions({"Final NIR": "@cmat_muladd hmma.m16n8k16 exit", name: text}) == count


@pytest.mark.parametrize(
    "instruction",
    [
        "v_swmmac_f32_16x16x32_f16 v[0:7], v[8:11], v[12:19], v20",
        "v_mfma_f32_16x16x16_f16 a[0:3], v[0:1], v[2:3], a[0:3]",
        "v_smfmac_f32_16x16x32_f16 a[0:3], v[0:1], v[2:5], v6",
        "dpasw.8x8(8) g71<1>F g35 g3 g67",
        "HMMA.16816.F32 R4, R8, R10, R4",
        "qmma.m16n8k32.f32.e4m3.e4m3 r0..4 r4..8 r8..10 r0..4",
    ],
)
def test_other_spellings_count(instruction: str) -> None:
    """Sparse ones, CDNA's, DG2's, the vendor's own disassembler's."""
    assert matrix_instructions({"Assembly": f"{instruction}\ns_endpgm\n"}) == 1


def test_hfma2_mma_is_no_matrix_instruction() -> None:
    """NVIDIA's half-precision multiply-add bears the name only."""
    assert matrix_instructions({"Assembly": "HFMA2.MMA R4, R8, R10, R4\nEXIT\nexit\n"}) == 0


@pytest.mark.parametrize("texts", [{}, {"Final NIR": "end"}, {"Assembly": ""}, {"Assembly": "Shader disassembly is not supported"}])
def test_without_a_whole_listing_nothing_is_known(texts: dict[str, str]) -> None:
    """No ISA, or what a driver without a disassembler prints in its place, is unknown and not none."""
    assert matrix_instructions(texts) is None


def test_texts_are_files_with_safe_names(tmp_path: Path) -> None:
    """A folder for the device, a file for each representation; nothing escapes the folder; a second run replaces them."""
    folder = IsaFolder(tmp_path / "isa")
    folder.write("radv:navi31@trixie/0", "gemm-l 128x128 256/64", {"NIR Shader(s)": "old", "../../up": "b"})
    folder.write("radv:navi31@trixie/0", "gemm-l 128x128 256/64", {"NIR Shader(s)": "new"})
    files = {str(p.relative_to(tmp_path)): p.read_text() for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {
        "isa/radv_navi31@trixie_0/gemm-l_128x128_256_64.NIR_Shader_s.txt": "new",
        "isa/radv_navi31@trixie_0/gemm-l_128x128_256_64.up.txt": "b",
    }


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """Said before anything is compiled."""
    (tmp_path / "isa").write_text("")
    with pytest.raises(UsageError, match=r"--isa .*isa: is a file; name a folder"):
        IsaFolder(tmp_path / "isa")


def test_what_can_t_be_written_is_an_error_without_leftovers(tmp_path: Path) -> None:
    """A device's folder that is a file."""
    folder = IsaFolder(tmp_path)
    (tmp_path / "lvp_0").write_text("")
    with pytest.raises(UsageError, match="can't be written"):
        folder.write("lvp/0", "gemm", {"Assembly": "x"})
    assert [p.name for p in tmp_path.iterdir()] == ["lvp_0"]
