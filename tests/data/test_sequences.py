"""Names of files and descriptions of series, of several makers and in many languages: which sequence each names, and
whether it says that contrast agent was given.

Each line: the text, the sequence, and for T1 `after` or `before` contrast agent, or `?` where the words do not tell.
"""

import pytest

from lacunet.data.agent import says_agent
from lacunet.data.masks import is_tumour_mask, names_mask
from lacunet.data.sequences import is_sequence_word, sequence_named

DESCRIPTIONS = """
t1_mprage_sag_p2_iso | t1 | ?
t1_mpr_ns_sag_p2_iso | t1 | ?
t1_mpr_sag | t1 | ?
T1 mpr ns sag | t1 | ?
t1_mprage_sag_p2_iso_MPR_Tra | other
t1_mprage_sag_MPR Cor | other
t1_mpr_sag_MPR_Cor | other
COR MPR | other
MPR Range[1] | other
t2_space_dark-fluid_sag_p2_iso_MPR_tra | other
t1_fl2d_tra | t1 | ?
t1_fl3d_sag | t1 | ?
t1_se_tra_KM | t1 | after
t1_tse_dark-fluid_tra | t1 | ?
t1_vibe_tra_fs_KM | t1 | after
t1_space_sag_p2_iso | t1 | ?
t1_tirm_tra_dark-fluid | t1 | ?
t2_tse_tra_512 | t2w
t2_blade_tra | t2w
t2_tirm_tra_dark-fluid | t2f
t2_space_dark-fluid_sag_p2_iso | t2f
t2_spc_da-fl_sag_p2_iso | t2f
t2_spc_ir_sag | unknown
t2_haste_tra | t2w
t2_fl2d_tra_hemo | other
t2_swi_tra_p2 | other
Mag_Images | other
Pha_Images | other
mIP_Images(SW) | other
SWI_Images | other
localizer | other
AAHead_Scout | other
AAHScout | other
ep2d_diff_3scan_trace_p2_ADC | other
ep2d_perf_p2 | other
ep2d_bold_moco | other
relCBF | other
pd+t2_tse_tra | other
t1_mp2rage_sag_p3_iso_INV1 | other
t1_mp2rage_sag_p3_iso_INV2 | other
t1_mp2rage_sag_p3_iso_T1_Images | other
t1_mp2rage_sag_p3_iso_UNI_Images | t1 | ?
t1_mp2rage_sag_p3_iso_UNI-DEN | t1 | ?
t1_mp2rage_sag | t1 | ?
tof_fl3d_tra | other
gre_field_mapping | other
svs_se_30 | other
csi_se | other
T2Map_Images | other
T1 Map | other
t1_map | other
T1MAP | other
qT1 | other
T1rho | other
MOLLI native | other
Ax T2 FLAIR | t2f
Ax T1 FLAIR | t1 | ?
Sag T1 FLAIR | t1 | ?
FLAIR T1 | t1 | ?
Ax FLAIR T2 | t2f
FLAIR_T2 | t2f
SAG CUBE T2 FLAIR | t2f
Sag CUBE FLAIR | t2f
Ax T2 PROPELLER | t2w
Ax T2 FRFSE | t2w
AX FSPGR BRAVO | t1 | ?
Ax 3D BRAVO +C | t1 | after
AX T2* | other
AX T2* GRE | other
AX GRE | other
Ax GRE T2 | other
AX T2 HEME | other
AX HEME | other
AX MERGE | other
SWAN | other
Filt_Pha: Ax SWAN | other
Ax DWI 3 b | other
OAx DWI b=1000 | other
Apparent Diffusion Coefficient (mm?/s) | other
Exponential Apparent Diffusion Coefficient | other
Average DC | other
3-pl T2* FGRE S | other
3-Plane Loc SSFSE | other
ASSET calibration | other
HEAD 24 Calibration | other
Ax T1 SE | t1 | ?
WATER: AX T1 LAVA-Flex | t1 | ?
PU:Ax T2 | t2w
ORIG: Ax T2 FLAIR | t2f
Min IP | other
MAGiC | other
MAGiC T1 | t1 | ?
MAGiC T2 FLAIR | t2f
SyMRI T1 map | other
T1W_Synth | t1 | ?
syT1W | t1 | ?
Synthetic T2 | t2w
MAGiC STIR | other
MAGiC T1 map | other
sT1W_3D_TFE | t1 | ?
T1W_3D_TFE | t1 | ?
T1W_SE | t1 | ?
sT1W_SE Gd | t1 | after
sT2W_FLAIR | t2f
T2W_FLAIR | t2f
T2W_TSE | t2w
sT2W_TSE | t2w
T2W_FFE | other
sT2W_FFE | other
3D_Brain_VIEW_FLAIR | t2f
3D_Brain_VIEW_T2 | t2w
sDW_SSh | other
DWI_SSh | other
dADC | other
eADC | other
Reg - DWI | other
isoB | other
sB-TFE | other
VEN_BOLD | other
SWIp | other
e-THRIVE | t1 | ?
T1W_IR | t1 | ?
T1W_TSE | t1 | ?
SmartBrain | other
Survey | other
PCA 3D | other
T2W_3D_DRIVE | other
T1W_3D_MPRAGE | t1 | ?
FLAIR_AX | t2f
T2_AX FASE | t2w
FSBB | other
FE_T2*_AX | other
T1 SE AX | t1 | ?
BSI | other
3D-GEIR | t1 | ?
BASG 3D | other
FSE T2 AX | t2w
t1_gre_fsp_3d_sag | t1 | ?
t2_fse_flair_tra | t2f
t2_arms_fse_tra | t2w
t1_fse_flair_tra | t1 | ?
epi_dwi_tra_b1000 | other
swi_gre | other
T1_POST | t1 | after
post_T1 | t1 | after
CT1 | t1 | after
T1_CE | t1 | after
T2_FLAIR | t2f
Gd_T1_ax | t1 | after
3D_T1_C+ | t1 | after
T1 MPRAGE +C | t1 | after
AX T1 POST | t1 | after
sub-01_acq-post_T1w | t1 | after
sub-01_ce-gad_T1w | t1 | after
sub-01_T1w | t1 | ?
sub-01_FLAIR | t2f
sub-01_space-T1w_FLAIR | t2f
sub-01_T2starw | other
sub-01_PDw | other
sub-01_UNIT1 | t1 | ?
sub-01_inv-1_MP2RAGE | other
sub-01_part-phase_T1w | other
sub-01_T1map | other
sub-01_dwi | other
FLAIR_to_T1 | t2f
FLAIR_in_T1_space | t2f
FLAIR2T1 | t2f
T2_reg_T1ce | t2w
T2_registered_to_T1 | t2w
T1_T2_FLAIR | unknown
T1_T2 | unknown
T1_sub | other
SUB T1 POST-PRE | other
T1 post minus pre | other
Subtraktion T1 | other
T1 soustraction | other
T1 减影 | other
T1加权像 造影前 | t1 | before
T2加权 横断 | t2w
T2强調像 | t2w
FLAIR強調 | t2f
压水 T2 | t2f
弥散加权 | other
拡散強調画像 | other
定位像 | other
T1W_tra_nach_KM | t1 | after
t1axpost | t1 | after
T1axpost | t1 | after
axT2 | t2w
t2flairax | t2f
sagT1mprage | t1 | ?
t13d | t1 | ?
3dt1 | t1 | ?
T1_mask | other
FLAIR_mask | other
T1_masked | t1 | ?
T1_brain | t1 | ?
T1c_lesion_manual | other
brainmask | other
sub-001_T1w_label-lesion_roi | other
c1T1 | other
T1_dseg | other
T1_seg | other
T1 Maske | other
STIR cor | other
T2 STIR | other
DIR | other
PSIR | other
AX PD | other
PD_001_T1 | t1 | ?
dual echo PD T2 | other
Ax T1 orbits | other
T1 c-spine | other
T1 post fossa | t1 | ?
ax post fossa T2 | t2w
T1_e1_ph | other
T1_real | other
T1_imaginary | other
VISTA | unknown
CUBE | unknown
BLADE | unknown
Mustermann | unknown
T2s | unknown
T1 TSE dyn | other
DCE T1 | other
T1 perfusion | other
pCASL | other
DTI_32dir | other
ax flair fs | t2f
T1 KM Subtraktion | other
screenshot | other
T1 t2 | unknown
MPRAGE | t1 | ?
IR-FSPGR | t1 | ?
T1 no phase wrap | t1 | ?
AX T1 PRE | t1 | before
AX T1 POST GAD | t1 | after
COR T1 POST GAD | t1 | after
T1 AX PRE GD FSE | t1 | before
FSPGR 3D | t1 | ?
3D SPGR POST | t1 | after
AX T2 FR FSE | t2w
ADC (10^-6 mm²/s) | other
DIFFUSION | other
MAG. SUSCEPTIBILITY | other
T2/PD | other
AX PD/T2 | other
AXIAL DUAL ECHO | other
AX MPGR | other
AX MPGR T2* | other
Ax Vol T1 post | t1 | after
t1_3d_tfe_ce | t1 | after
T1 FFE C+ | t1 | after
T1 GAD AX | t1 | after
AX T1 FAT SAT POST | t1 | after
Perfusion Raw Data | other
AX SE T1 MTC POST GAD | t1 | after
T1 weighted axial pre infusion | t1 | before
POST-INFUSION T1 | t1 | after
SE T1 TRA + CM | t1 | after
T1 TRA m. KM | t1 | after
T1 TRA o. KM | t1 | before
T1 TRA n. KM | t1 | after
T1 TRA u kontrast | t1 | before
T1 NON CON | t1 | before
T1 W/O CON | t1 | before
AX T1 W CONT | t1 | after
T1 KM'siz | t1 | before
POSTOP T1 +C | t1 | after
T1 PREOP STEALTH W CONTRAST | t1 | after
T1 Navi KM | t1 | after
T1 SE TRA DL KM | t1 | after
T1 mprage sag Mustermann | t1 | ?
3D T1 TFE SAG | t1 | ?
t1_mprage_tra_iso_KM_MPR | other
T1_mprage_KM_tra MPR 5mm | other
T2 SPACE FLAIR | t2f
t2_space_flair_sag | t2f
FLAIR 3D SPACE | t2f
VISTA FLAIR | t2f
T2 VISTA | t2w
3D_T2_VISTA | t2w
3D VIEW T1 | t1 | ?
BrainVIEW_T1_BB | t1 | ?
T1 BLACK BLOOD | t1 | ?
T1W IR TSE | t1 | ?
T1 IR | t1 | ?
sT1W_3D_FFE | t1 | ?
T1 FFE | t1 | ?
FLAIR SPIR | t2f
FLAIR longTR | t2f
T2W FLAIR SPAIR | t2f
sFLAIR | t2f
dFLAIR | t2f
T2 DRIVE | other
T2W_TSE_DRIVE | t2w
3D DRIVE | other
B0 map | other
B1 map | other
DelRec - T1W_3D | t1 | ?
cs_T1W_3D_TFE | t1 | ?
WIP T1W | t1 | ?
eT1W_SE | t1 | ?
T1-weighted | t1 | ?
T1 gewichtet | t1 | ?
T2-gewichtete TSE | t2w
Pondération T1 | t1 | ?
T1 axial após contraste | t1 | after
FLAIR axial | t2f
Axial FLAIR T2 fat sat | t2f
corte axial T2 | t2w
DP axial | other
DP FS | other
SE T1 sagital | t1 | ?
EG T2 | other
EG T2* | other
T2 EG axial | other
Coupe axiale T1 EG 3D | t1 | ?
T1 3D EG gado | t1 | ?
SWI 3D | other
Axial T2 écho de gradient | other
T2 echo gradient | other
T2 gradient | other
FFE T2* | other
T2 hemo | other
T2 Haem | other
Hämosiderin | other
T2 häm | other
t2_gre | other
Fast GRE | other
T1 fast field echo | t1 | ?
IR_SPGR | t1 | ?
EFGRE3D | unknown
3D FGRE | unknown
fgre | other
CUBE T1 | t1 | ?
Cube T1 POST | t1 | after
CUBE_T2 | t2w
CUBE FLAIR | t2f
3D Ax T2 FLAIR CUBE | t2f
SAG T2 FLAIR CUBE FS | t2f
Ax FLAIR PROPELLER | t2f
Sag MPRAGE | t1 | ?
MPRAGE ADNI | t1 | ?
ADNI3 accelerated SAG T1 | t1 | ?
Accelerated Sag IR-FSPGR | t1 | ?
HighResHippocampus | other
Axial 3TE T2 STAR | other
Axial T2-Star | other
Field Mapping | other
Axial rsfMRI (Eyes Open) | other
Axial DTI | other
Perfusion_Weighted | other
ASL PERFUSION | other
MoCoSeries | other
tumor T1 | t1 | ?
glioma_T1 | t1 | ?
anna_T1_tumor | t1 | ?
T1_tumor | t1 | ?
ms_lesion_flair | other
Segmentation | other
tumor_seg | other
x_GT | other
x_gt_seg | other
ROI_1 | other
VOI | other
t1_voi | other
BraTS-GLI-00000-000-t1c | t1 | after
BraTS20_Training_001_t1ce | t1 | after
UCSF-PDGM-0004_T1c | t1 | after
UPENN-GBM-00001_11_T1GD | t1 | after
TCGA-02-0003_2001.01.01_t1Gd | t1 | after
TCGA-02-0003_t1 | t1 | ?
Patient-001_t1c_bias | t1 | after
sub-PAT01_ses-preop_T1w | t1 | ?
sub-PAT01_ses-postop_ce-gd_T1w | t1 | after
sub-1_acq-mprage_T1w | t1 | ?
sub-1_acq-t2tirm_FLAIR | t2f
sub-1_rec-norm_T1w | t1 | ?
sub-1_run-01_T2w | t2w
sub-1_acq-tfl_B1map | other
sub-1_MTRmap | other
sub-1_T2starmap | other
sub-1_task-rest_bold | other
sub-1_magnitude1 | other
sub-1_phasediff | other
Ax T2 FLAIR FS +C | t2f
t2_tirm_fs_cor | unknown
T1 MPRAGE MPR | other
Ax SWI mIP | other
R2* | other
R2star map | other
T1_relax | other
T2_relax | other
PD_map | other
UNI_Images | t1 | ?
MP2RAGE_UNI | t1 | ?
MP2RAGE INV2 | other
mp2rage_T1map | other
T1_inv | t1 | ?
T1 mag | t1 | ?
DIR SPACE | other
T1-IR-FSPGR | t1 | ?
FLAIR SPACE POST | t2f
T2 BLADE TRA | t2w
T2W MultiVane XD | t2w
SAG T1 BLADE | t1 | ?
spoiled gradient | t1 | ?
T1 FSE fat sat | t1 | ?
T1_tse_fs_tra | t1 | ?
Synthetic MR T2 | t2w
T2 synth map | other
ASL CBF | other
DSC Perfusion post | other
T1 DCE dynamic | other
DWI b0 | other
TraceW | other
T1_bet | t1 | ?
T1_N4 | t1 | ?
T1_reg | t1 | ?
T1_to_MNI | t1 | ?
T1_MNI | t1 | ?
flair_in_t1 | t2f
T1_in_FLAIR | t1 | ?
t2_coreg_to_t1c | t2w
t1c_reg_t1 | t1 | after
rT1 | t1 | ?
wT1 | t1 | ?
mT1 | t1 | ?
T1_noskull | t1 | ?
T1_defaced | t1 | ?
T1_label | other
T1 prob map | other
T1_probabilities | other
gm_probseg | other
FLAIR_lesions | other
flair_wmh | other
WMH | other
T1 Segmentierung | other
segmentazione | other
tumor_roi | other
prediction | other
GTV | other
t1_reg_to_t1c | t1 | ?
t1c_in_t1_space | t1 | after
"""

MASKS = """
FLAIR_mask | mask | ?
T1_brainmask | mask | another
x_Maske | mask | ?
p01_masque | mask | ?
sub-001_T1w_label-lesion_roi | mask | tumour
sub-001_space-T1w_desc-brain_mask | mask | another
sub-001_space-t1c_desc-lacunet_dseg | mask | ?
sub-001_probseg | mask | ?
UCSF-PDGM-0004_tumor_segmentation | mask | tumour
UCSF-PDGM-0004_brain_segmentation | mask | another
UCSF-PDGM-0004_brain_parenchyma_segmentation | mask | another
BraTS-GLI-00000-000-seg | mask | ?
T1c_lesion_manual | mask | tumour
anna_brain_tumor_mask | mask | tumour
UPENN-GBM-00001_brain_mask | mask | another
anna_gt | mask | tumour
anna_tumour | mask | tumour
anna_ventricles | mask | another
aparc+aseg | mask | another
c1T1 | mask | another
T1_Läsion | mask | tumour
T1 肿瘤 分割 | mask | tumour
FLAIR マスク | mask | ?
BrainMask | mask | another
tumorSeg | mask | tumour
T1_masked | scan | ?
T1_brainmasked | scan | another
T1_brain | scan | another
readout_segmented_EPI | scan | ?
tumor_T1 | scan | tumour
flair_stripped | scan | ?
"""

WORDS_OF_A_SEQUENCE = "t1 t1ce flair ax post gd 3d mprage nativ tse fs 1mm p2 2d contrast ohne 造影前 t1axpost t13d"
WORDS_OF_A_PERSON = "anna p01 001 mustermann brain 1964 sub me da et x"


def rows(table: str) -> list[list[str]]:
    """The lines of a table, divided."""
    return [[part.strip() for part in line.split(" | ")] for line in table.strip().splitlines()]


@pytest.mark.parametrize("row", rows(DESCRIPTIONS), ids=lambda row: row[0])
def test_what_words_name(row: list[str]) -> None:
    text, sequence, *agent = row
    found = sequence_named(text)
    assert (found.sequence if found else "unknown") == sequence
    if agent:
        assert says_agent([text]) is {"after": True, "before": False, "?": None}[agent[0]]


@pytest.mark.parametrize(("text", "kind", "whose"), rows(MASKS))
def test_masks_and_scans(text: str, kind: str, whose: str) -> None:
    assert names_mask(text) is (kind == "mask")
    assert is_tumour_mask(text) is {"tumour": True, "another": False, "?": None}[whose]


def test_words_about_the_sequence_and_words_about_the_person() -> None:
    assert [word for word in WORDS_OF_A_SEQUENCE.split() if not is_sequence_word(word)] == []
    assert [word for word in WORDS_OF_A_PERSON.split() if is_sequence_word(word)] == []


def test_calculated_images_weighted_like_a_sequence_are_named_as_such() -> None:
    assert [bool((named := sequence_named(text)) and named.calculated) for text in ("MAGiC T2 FLAIR", "FLAIR")] == [
        True,
        False,
    ]
    assert getattr(sequence_named("SyMRI T1W"), "what", None) == "synthetic T1"


@pytest.mark.parametrize(("what", "text"), [
    ("a localiser", "AAHead_Scout"), ("diffusion imaging", "ep2d_diff_trace"), ("perfusion imaging", "relCBV"),
    ("susceptibility imaging", "AX HEME"), ("angiography", "TOF 3D"), ("a phase image", "T1_e1_ph"),
    ("a map of T1, T2 or another quantity", "t1_mp2rage_sag_T1_Images"), ("a subtraction", "T1 SUB"),
    ("an inversion image of MP2RAGE", "t1_mp2rage_INV2"), ("a reformat or a projection", "COR MPR"),
    ("a real or imaginary image", "T1_real"), ("proton density imaging", "PDw"), ("a mask", "T1_mask"),
    ("raw images of synthetic MRI", "Ax MAGiC"), ("a screenshot or a report", "screenshot"),
])  # fmt: skip
def test_other_images_are_named_for_what_they_are(what: str, text: str) -> None:
    assert getattr(sequence_named(text), "what", None) == what
