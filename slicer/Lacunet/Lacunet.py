"""The module of 3D Slicer: it calls the installed program `lacunet`, shows the mask, and measures it after corrections.

All that needs no Slicer is in LacunetLib. The program runs in a process of its own, so that Slicer stays usable.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import qt
import slicer
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from LacunetLib import LacunetProblem
from LacunetLib.answers import HEADINGS, CaseAnswer, read_case, read_measures
from LacunetLib.command import (
    SEQUENCES,
    environment_for,
    find_program,
    measure_command,
    readable,
    segment_command,
    why_it_failed,
)
from LacunetLib.labels import SEGMENTS, merged

PROGRAM, MODEL, OPTIONS = "Lacunet/program", "Lacunet/model", "Lacunet/options"
"""Keys of what is remembered."""
PATIENCE_MS = 5000
"""After Cancel the program may tidy up for so long; then it is killed."""


class Lacunet(ScriptedLoadableModule):
    """What the list of modules says."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "Lacunet: brain tumours from any sequences"
        parent.categories = ["Segmentation"]
        parent.dependencies = ["Segmentations", "SegmentEditor"]
        parent.contributors = ["The lacunet authors"]
        parent.helpText = (
            "Segments a brain tumour from one to four of T1, T1ce, T2 and FLAIR of one visit with the installed "
            "program lacunet, and says how accurate the mask is expected to be. Research software, no medical device."
        )
        parent.acknowledgementText = "lacunet is published under the Apache License 2.0."


class LacunetWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: choose scans, press Segment, correct in Segment Editor, press Measure again."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.ui = None
        self.selectors = {}

    def setup(self):
        """Build the panel from its .ui file."""
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/Lacunet.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.selectors = {
            "t1n": self.ui.t1Selector,
            "t1c": self.ui.t1ceSelector,
            "t2w": self.ui.t2Selector,
            "t2f": self.ui.flairSelector,
        }
        self.logic = LacunetLogic(self.onOutput)
        settings = qt.QSettings()
        self.ui.programEdit.text = settings.value(PROGRAM, "") or ""
        self.ui.optionsEdit.text = settings.value(OPTIONS, "") or ""
        self.ui.modelCombo.setEditText(settings.value(MODEL, "default") or "default")
        self.ui.resultTable.setColumnCount(len(HEADINGS))
        self.ui.resultTable.setHorizontalHeaderLabels(list(HEADINGS))
        for selector in self.selectors.values():
            selector.connect("currentNodeChanged(vtkMRMLNode*)", self.onChanged)
        self.ui.segmentButton.connect("clicked(bool)", self.onSegment)
        self.ui.cancelButton.connect("clicked(bool)", self.onCancel)
        self.ui.editButton.connect("clicked(bool)", self.onEdit)
        self.ui.measureButton.connect("clicked(bool)", self.onMeasure)
        self.ui.pageButton.connect("clicked(bool)", self.onPage)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneClosed)
        self.onChanged()

    def cleanup(self):
        """The module is unloaded."""
        self.removeObservers()
        if self.logic is not None:
            self.logic.close()

    def onSceneClosed(self, caller, event):
        """The scene is closed: what belonged to it is forgotten."""
        self.logic.forget()
        self.ui.resultTable.setRowCount(0)
        self.ui.warningsText.setPlainText("")
        self.onChanged()

    def onChanged(self, *unused):
        """Buttons are enabled where they can do something."""
        running, scans = self.logic.running, any(self.chosen().values())
        self.ui.segmentButton.enabled = scans and not running
        self.ui.cancelButton.enabled = running
        done = self.logic.answer is not None and not running
        for button in (self.ui.editButton, self.ui.measureButton, self.ui.pageButton):
            button.enabled = done

    def chosen(self):
        """The chosen volumes by sequence; None where there is none."""
        return {name: selector.currentNode() for name, selector in self.selectors.items()}

    def onSegment(self, *unused):
        """Start the segmentation."""
        self.remember()
        self.ui.logText.setPlainText("")
        self.ui.resultTable.setRowCount(0)
        self.ui.warningsText.setPlainText("")
        nodes = {name: node for name, node in self.chosen().items() if node is not None}
        settings = (self.ui.programEdit.text, self.ui.modelCombo.currentText, self.ui.optionsEdit.text)
        self.attempt(lambda: self.logic.segment(nodes, *settings, self.onSegmented))

    def onMeasure(self, *unused):
        """Measure the segmentation as it is now."""
        self.remember()
        self.attempt(lambda: self.logic.measure(self.ui.programEdit.text, self.onMeasured))

    def onCancel(self, *unused):
        """Stop what is running."""
        self.logic.cancel()

    def onEdit(self, *unused):
        """Go to Segment Editor with the mask."""
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.modules.SegmentEditorWidget.editor
        editor.setSegmentationNode(self.logic.segmentation)
        editor.setSourceVolumeNode(self.logic.source)

    def onPage(self, *unused):
        """Open the report in a browser."""
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self.logic.answer.page)))

    def attempt(self, action):
        """Do it; a problem is shown, and nothing is left half done."""
        try:
            action()
        except LacunetProblem as problem:
            self.say(str(problem))
        self.onChanged()

    def onOutput(self, text):
        """The program printed something."""
        self.ui.logText.moveCursor(qt.QTextCursor.End)
        self.ui.logText.insertPlainText(text)

    def onSegmented(self, problem):
        """The segmentation ended."""
        if problem:
            self.say(problem)
        else:
            self.attempt(lambda: self.showAnswer(self.logic.load()))
        self.onChanged()

    def onMeasured(self, problem):
        """The measuring ended."""
        if problem:
            self.say(problem)
        else:
            self.attempt(self.showMeasures)
        self.onChanged()

    def showAnswer(self, answer: CaseAnswer):
        """Volumes, expected accuracy and warnings."""
        self.ui.resultTable.setRowCount(len(answer.rows))
        for number, cells in enumerate(answer.rows.values()):
            self.fill(number, 0, cells)
        self.say("\n".join((*answer.first, *answer.warnings)))

    def showMeasures(self):
        """What the corrected mask measures, beside what the model's did."""
        measured = self.logic.measured()
        for number, region in enumerate(self.logic.answer.rows):
            self.fill(number, 4, measured.rows.get(region, ()))
        self.say("\n".join((*self.logic.answer.first, *measured.warnings, *measured.sizes)))

    def fill(self, row, first, cells):
        """Cells of the table from a column on."""
        for number, text in enumerate(cells):
            self.ui.resultTable.setItem(row, first + number, qt.QTableWidgetItem(text))
        self.ui.resultTable.resizeColumnsToContents()

    def say(self, text):
        """Sentences for the user, as plain text."""
        self.ui.warningsText.setPlainText(text)

    def remember(self):
        """Keep the settings for the next start."""
        settings = qt.QSettings()
        settings.setValue(PROGRAM, self.ui.programEdit.text)
        settings.setValue(MODEL, self.ui.modelCombo.currentText)
        settings.setValue(OPTIONS, self.ui.optionsEdit.text)


class LacunetLogic(ScriptedLoadableModuleLogic):
    """One process at a time, and the files and nodes of the last case."""

    def __init__(self, tell=print):
        ScriptedLoadableModuleLogic.__init__(self)
        self.tell = tell
        self.process = None
        self.printed = ""
        self.cancelled = False
        self.ended = None
        self.slots = ()
        self.folder = None
        self.answer = None
        self.segmentation = None
        self.source = None
        self.labels = None

    @property
    def running(self):
        """Whether the program runs."""
        return self.process is not None

    def segment(self, nodes, program, model, options, ended):
        """Export the scans and start the program; `ended` is called with the reason of a failure, or ""."""
        environment = environment_for(slicer.util.startupEnvironment())
        found = find_program(program, environment)
        self.forget()
        self.folder = Path(tempfile.mkdtemp(prefix="lacunet-slicer-"))
        scans = {}
        for name in SEQUENCES:
            if name in nodes:
                scans[name] = self.folder / f"{name}.nii.gz"
                if not slicer.util.exportNode(nodes[name], str(scans[name]), world=True):
                    raise LacunetProblem(f"{SEQUENCES[name]} cannot be exported; see Slicer's error log")
        command = segment_command(found, scans, model, self.folder / "results", options)
        self.source = nodes.get("t1c") or nodes.get("t2f") or next(iter(nodes.values()))
        self.start(command, environment, ended)

    def load(self):
        """Read the answer and load the mask as a segmentation with named segments."""
        self.answer = None
        answer = read_case(self.folder / "results")
        self.labels = slicer.util.loadLabelVolume(str(answer.mask), {"name": "Lacunet labels", "show": False})
        array = slicer.util.arrayFromVolume(self.labels)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Lacunet mask")
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(self.labels)
        for segment in SEGMENTS:
            made = node.GetSegmentation().AddEmptySegment(segment.identifier, segment.name, segment.colour)
            inside = (array == segment.value).astype("uint8")
            slicer.util.updateSegmentBinaryLabelmapFromArray(inside, node, made, self.labels)
        self.segmentation, self.answer = node, answer
        return answer

    def measure(self, program, ended):
        """Write the segmentation as it is now, and start `lacunet measure`."""
        if self.answer is None or self.segmentation is None or self.labels is None:
            raise LacunetProblem("there is no mask to measure; press Segment first")
        segments = self.segmentation.GetSegmentation()
        arrays = {}
        for number in range(segments.GetNumberOfSegments()):
            identifier = segments.GetNthSegmentID(number)
            array = slicer.util.arrayFromSegmentBinaryLabelmap(self.segmentation, identifier, self.labels)
            arrays[segments.GetSegment(identifier).GetName()] = array
        labels = merged(arrays)
        environment = environment_for(slicer.util.startupEnvironment())
        found = find_program(program, environment)
        path = self.folder / "corrected.nii.gz"
        copy = slicer.modules.volumes.logic().CloneVolume(slicer.mrmlScene, self.labels, "Lacunet corrected")
        try:
            slicer.util.updateVolumeFromArray(copy, labels)
            if not slicer.util.exportNode(copy, str(path)):
                raise LacunetProblem("the corrected mask cannot be written; see Slicer's error log")
        finally:
            slicer.mrmlScene.RemoveNode(copy)
        self.start(measure_command(found, path, self.answer.folder, self.measures), environment, ended)

    @property
    def measures(self):
        """The file of what was measured last."""
        return self.folder / "measures.json"

    def measured(self):
        """What was measured last."""
        return read_measures(self.measures)

    def start(self, command, environment, ended):
        """Start a command in a process of its own."""
        if self.process is not None:
            raise LacunetProblem("lacunet is running; wait for it, or press Cancel")
        self.printed, self.cancelled, self.ended = "", False, ended
        process = qt.QProcess()
        variables = qt.QProcessEnvironment()
        for name, value in environment.items():
            variables.insert(name, value)
        process.setProcessEnvironment(variables)
        process.setProcessChannelMode(qt.QProcess.MergedChannels)
        self.slots = (  # PythonQt keeps no reference of its own; a process that was left may still send its end
            lambda: self.onRead(process),
            lambda status, how: self.onFinished(process, status, how),
            lambda error: self.onError(process, error),
        )
        process.connect("readyReadStandardOutput()", self.slots[0])
        process.connect("finished(int,QProcess::ExitStatus)", self.slots[1])
        process.connect("errorOccurred(QProcess::ProcessError)", self.slots[2])
        self.process = process
        self.tell(f"{' '.join(command)}\n")
        process.start(command[0], command[1:])

    def cancel(self):
        """Ask the program to stop, and kill it if it does not."""
        process = self.process
        if process is None:
            return
        self.cancelled = True
        process.terminate()
        qt.QTimer.singleShot(PATIENCE_MS, lambda: process.kill() if process is self.process else None)

    def onRead(self, process):
        """The program printed something."""
        if process is not self.process:
            return
        text = readable(process.readAllStandardOutput().data())
        self.printed += text
        self.tell(text)

    def onFinished(self, process, status, how):
        """The program ended."""
        if process is not self.process:
            return
        self.onRead(process)
        crashed = how == qt.QProcess.CrashExit
        failed = why_it_failed(self.printed, status, crashed) if status or crashed else ""
        self.leave("cancelled" if self.cancelled else failed)

    def onError(self, process, error):
        """The program could not be started; every other error is followed by its end."""
        if process is self.process and error == qt.QProcess.FailedToStart:
            self.leave(f"lacunet cannot be started ({process.errorString()}); look at its path under Settings")

    def leave(self, problem):
        """The process is over."""
        ended, self.process, self.ended = self.ended, None, None
        if ended is not None:
            ended(problem)

    def forget(self):
        """Stop what is running, and delete the files of the last case. Its nodes stay in the scene."""
        if self.process is not None:
            self.ended = None
            self.process.kill()
            self.process = None
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder = self.answer = self.segmentation = self.source = self.labels = None

    def close(self):
        """The module is unloaded."""
        self.tell = lambda text: None
        self.forget()
